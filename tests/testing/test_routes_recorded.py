"""The simulated Ollama beside recordings of a real one: status, headers, keys, their order and types, error texts."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tornado_gateway.testing import Behaviour, FakeModel, FakeOllama

RECORDINGS = Path(__file__).parents[1] / "transcripts"
DIGEST = "fd5f44c0b5aff6453726119fc560d73a8a995a55b4a49804bc24b1969ecf1794"
SMOLLM: dict[str, Any] = {
    "parameter_size": "134.52M",
    "quantization_level": "Q4_1",
    "size": 98362745,
    "context_length": 8192,
    "embedding_length": 576,
}
MODELS = (
    FakeModel("smollm2:135m", digest=DIGEST, modified_at="2026-11-23T01:57:16.881718185Z", **SMOLLM),
    FakeModel("smollm2-tools:135m", ("completion", "tools"), modified_at="2026-11-23T02:07:14.290490001Z", **SMOLLM),
    FakeModel("smollm2-think:135m", ("completion", "thinking"), modified_at="2026-11-23T02:01:13.905781443Z", **SMOLLM),
    FakeModel(
        "all-minilm:l6", ("embedding",), family="bert", parameter_size="22.57M", quantization_level="F16", size=45949364,
        context_length=512, embedding_length=384, stop=(), modified_at="2026-11-23T02:01:33.935288271Z",
    ),
)  # fmt: skip
CHANGING = {
    "created_at", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration", "id", "expires_at", "content",
    "thinking", "response", "context", "logprobs", "embeddings", "eval_count", "prompt_eval_count", "message",
}  # fmt: skip
TOLD = {
    # What the recorded models did that a model of any sense would not, and what no model does by itself.
    "chat-tools": Behaviour(text="The weather in Paris is Paris."),
    "chat-tools-once": Behaviour(text="The weather in Paris is Paris."),
    "chat-tool-turn": Behaviour(tool_calls=[{"name": "get_weather", "arguments": {"city": "Paris"}}]),
    "chat-think-level": Behaviour(
        thinking="2 is a mathematical concept that represents the sum of two numbers. In other words, it is"
    ),
    "chat-logprobs": Behaviour(text="Hello there. I am glad to help."),
    "chat-logprobs-once": Behaviour(text="Hello there. I am glad to help."),
    "chat-stop-once": Behaviour(text="".join(f"{number}. {number}\n" for number in range(1, 20))),
    "chat-think": Behaviour(thinking="2 is a number that is a part of the set of whole numbers. " * 4),
    "chat-unicode": Behaviour(text="Repeat exactly: naïve café 日本 😀\n" * 4),
    "chat-json-mode": Behaviour(text='{\n "city": "Paris"\n}'),
    "chat-context-truncated": Behaviour(text=""),
    "runner-killed-stream": Behaviour(error="an error was encountered while running the model: unexpected EOF", error_after=53),
    "runner-killed-once": Behaviour(error="an error was encountered while running the model: unexpected EOF"),
    "queue-full": Behaviour(status=503, error="server busy, please try again.  maximum pending requests exceeded"),
}
SEPARATE = {"chat-cut-by-client"}
COUNTED = {
    "chat-once", "chat-stream-warm", "chat-length", "chat-stop-sequence", "chat-unknown-option", "chat-content-null", "embed",
    "chat-context-truncated", "chat-logprobs", "generate-once", "generate-raw", "embed-too-long-truncated",
}  # fmt: skip
"""Recordings whose prompt's tokens the simulation counts exactly."""


def native() -> list[str]:
    names = sorted(path.stem for path in RECORDINGS.glob("*.json"))
    return [name for name in names if not name.startswith("v1-") and name not in SEPARATE]


def load(name: str) -> dict[str, Any]:
    recording: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text("utf-8"))
    return recording


def request_bytes(recording: dict[str, Any]) -> bytes:
    request = recording["request"]
    body = request["raw"] if "raw" in request else json.dumps(request["body"]) if request.get("body") is not None else ""
    for length in ("15000", "10000"):
        mark = f"... {length} characters"
        if mark in body:
            cut = body[: body.index(mark)]
            start = cut.rindex('"word ') + 1
            body = body[:start] + "word " * (int(length) // 5) + body[body.index(mark) + len(mark) :]
    data = body.encode()
    head = f"{request['method']} {request['path']} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


async def replay(ollama: FakeOllama, recording: dict[str, Any]) -> tuple[str, list[str], list[bytes]]:
    """Status line, headers without Date, and the body: the chunks, or one piece with a length."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ollama.port)
    writer.write(request_bytes(recording))
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    chunked = "Transfer-Encoding: chunked" in headers
    return status, [line for line in headers if not line.startswith("Date:")], list(chunks(body)) if chunked else [body]


def chunks(body: bytes) -> Iterator[bytes]:
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert body == b"\r\n"
            return
        yield body[:length]
        assert body[length : length + 2] == b"\r\n"
        body = body[length + 2 :]


def shape(value: Any) -> Any:
    """Keys in order with the kinds of their values; of a list its first item."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def compact(recorded: str) -> bytes:
    """A body as it was sent: the recorder had read it and written it again with spaces."""
    try:
        text = json.dumps(json.loads(recorded), separators=(",", ":"), ensure_ascii=False)
    except ValueError:
        return recorded.encode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()


def comparable(headers: list[str], name: str) -> list[str]:
    """Headers without the length of a text that is another model's."""
    return sorted(line for line in headers if not line.startswith("Content-Length") or not name)


@pytest.fixture
async def ollama() -> Any:
    async with FakeOllama(MODELS, version="0.0.0") as fake:
        yield fake


async def answered(ollama: FakeOllama, name: str) -> tuple[dict[str, Any], str, list[str], list[bytes]]:
    recording = load(name)
    if name in TOLD:
        ollama.next(TOLD[name])
    if name.startswith("ps-"):
        await replay(ollama, load("embed"))
    if name == "ps-loaded":
        await replay(ollama, load("chat-once"))
    return recording, *await replay(ollama, recording)


@pytest.mark.parametrize("name", native())
async def test_status_and_headers_are_those_recorded(ollama: FakeOllama, name: str) -> None:
    recording, status, headers, _ = await answered(ollama, name)

    exact = "" if recording["response"]["status"].split()[1] != "200" else name
    assert status == recording["response"]["status"]
    assert comparable(headers, exact) == comparable(recording["response"]["headers"], exact)


@pytest.mark.parametrize("name", [name for name in native() if load(name)["response"]["status"].split()[1] != "200"])
async def test_an_error_is_the_recorded_one_to_the_byte(ollama: FakeOllama, name: str) -> None:
    recording, _, _, body = await answered(ollama, name)

    assert b"".join(body) == compact(recording["response"]["body"])


@pytest.mark.parametrize("name", [name for name in native() if load(name)["response"]["status"].split()[1] == "200"])
async def test_an_answer_has_the_recorded_keys_in_their_order(ollama: FakeOllama, name: str) -> None:
    recording, _, _, body = await answered(ollama, name)
    recorded = recording["response"]["chunks"] or [recording["response"]["body"]]
    if not recorded[0].startswith("{"):
        assert b"".join(body).decode() == recorded[0]
        return

    theirs, ours = [json.loads(item) for item in recorded], [json.loads(item) for item in body]
    for their, our in ((theirs[0], ours[0]), (theirs[-1], ours[-1])):
        if name == "show":
            their["model_info"], our["model_info"] = {}, {}
        assert shape(our) == shape(their)
        fixed = {key: item for key, item in their.items() if key not in CHANGING and isinstance(item, bool | str)}
        assert {key: our[key] for key in fixed if key not in {"modelfile", "modified_at"}} == {
            key: item for key, item in fixed.items() if key not in {"modelfile", "modified_at"}
        }
    if name in COUNTED:
        assert ours[-1]["prompt_eval_count"] == theirs[-1]["prompt_eval_count"]


@pytest.mark.parametrize("name", [name for name in native() if load(name)["response"]["chunks"]])
async def test_every_chunk_is_one_record_with_its_line_end(ollama: FakeOllama, name: str) -> None:
    recording, _, _, body = await answered(ollama, name)

    for item in body:
        assert item.endswith(b"\n") == recording["response"]["chunks"][0].endswith("\n")
        assert item.count(b"\n") <= 1
        json.loads(item)


def test_every_recording_of_the_native_api_is_compared() -> None:
    assert len(native()) >= 70
