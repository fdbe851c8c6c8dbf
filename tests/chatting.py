"""Chat through its dialect: requests as native calls, records as answers, in the short notation of Ollama's wire sheet."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tornado_gateway.errors import InvalidRequest
from tornado_gateway.wire.dialect import Limits, ModelFacts, Plan, Policy, Stamp
from tornado_gateway.wire.ollama import Record, decode_record
from tornado_gateway.wire.openai_chat import DIALECT

STAMP = Stamp("Aa0Bb1Cc2Dd3Ee4Ff5Gg6Hh7", 1700000000)
ABLE = frozenset({"completion", "tools", "vision", "audio", "thinking"})
HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather.",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
            "required": ["location"],
        },
    },
}


def plan(**fields: Any) -> Plan:
    """The plan for a plain request with `fields`; two of them are not the request's: `capabilities` and `policy`."""
    capabilities, policy = fields.pop("capabilities", ABLE), fields.pop("policy", Policy())
    body = json.dumps({"model": "m", "messages": HELLO, **fields}).encode()
    call = DIALECT.parse(body, Limits())
    return call.plan(ModelFacts("m:latest", "d" * 64, capabilities), policy)


def native(**fields: Any) -> dict[str, Any]:
    return plan(**fields).calls[0].request()


def messages(*turns: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = native(messages=list(turns))["messages"]
    return found


def refused(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        plan(**fields)
    return caught.value


def c(content: str, **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content}, "done": False, **more}


def t(thinking: str, content: str = "", **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, "thinking": thinking}, "done": False, **more}


def k(*calls: dict[str, Any], content: str = "", thinking: str = "", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "thinking": thinking, "tool_calls": list(calls)}
    return {"message": message, "done": False, **more}


def called(ident: str, name: str, index: int = 0, **arguments: Any) -> dict[str, Any]:
    return {"id": ident, "function": {"index": index, "name": name, "arguments": arguments}}


def end(reason: str | None = "stop", prompt: int = 0, answer: int = 0, content: str = "", **more: Any) -> dict[str, Any]:
    counts = {"prompt_eval_count": prompt, "eval_count": answer}
    return {"message": {"role": "assistant", "content": content}, "done": True, "done_reason": reason, **counts, **more}


def records(lines: Sequence[dict[str, Any]]) -> list[Record]:
    return [decode_record(json.dumps(line).encode()) for line in lines]


def whole(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    encoder = plan(**fields).encoder(STAMP)
    assert encoder.feed(0, records(lines)) == b""
    answer: dict[str, Any] = json.loads(encoder.finish())
    return answer


def choice(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = whole(*lines, **fields)["choices"][0]
    return found


def events(data: bytes) -> list[str]:
    assert data.endswith(b"\n\n")
    lines = data.decode().split("\n\n")[:-1]
    assert all(line.startswith("data: ") and "\n" not in line for line in lines)
    return [line.removeprefix("data: ") for line in lines]


def stream(*lines: dict[str, Any], usage: bool = False, **fields: Any) -> list[Any]:
    """Deltas of the chunks; ("finish", reason), ("usage", prompt, answer) and "DONE" for what is no delta."""
    encoder = plan(stream=True, stream_options={"include_usage": True} if usage else None, **fields).encoder(STAMP)
    data = encoder.feed(0, records(lines)) + encoder.finish()
    return ["DONE" if event == "[DONE]" else told(json.loads(event), usage) for event in events(data)]


def told(chunk: dict[str, Any], usage: bool) -> Any:
    assert list(chunk)[:5] == ["id", "object", "created", "model", "system_fingerprint"]
    assert (chunk["object"], chunk["created"]) == ("chat.completion.chunk", STAMP.created)
    assert ("usage" in chunk) is usage
    if not chunk["choices"]:
        return ("usage", chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"])
    assert chunk.get("usage") is None
    (only,) = chunk["choices"]
    assert list(only) == ["index", "delta", "logprobs", "finish_reason"]
    if only["finish_reason"] is not None:
        assert only["delta"] == {}
        return ("finish", only["finish_reason"])
    return only["delta"] if only["logprobs"] is None else (only["delta"], only["logprobs"])


def tool_call(ident: str, name: str, arguments: str, index: int | None = None) -> dict[str, Any]:
    call = {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}
    return call if index is None else {"index": index, **call}
