"""C14, C15, C39: models that would leave the machine, pictures that would be fetched, and requests that ask for too much."""

import base64
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from faults.oracles import serving

from tornado_gateway.testing import DEFAULT_MODELS, FakeModel, FakeOllama

HELLO = [{"role": "user", "content": "Hello"}]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(32)).decode()
CLOUD = [
    "gpt-oss:120b-cloud",
    "gpt-oss:cloud",
    "GPT-OSS:CLOUD",
    "gpt-oss:120B-Cloud",
    "registry.ollama.ai/library/gpt-oss:120b-cloud",
    "relayed",
    "relayed:latest",
    "sha256:" + "a" * 64,
    "llama3.2@sha256:" + "a" * 64,
    "../llama3.2",
    "llama3.2\0",
    " ",
]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "llama3.2", "messages": HELLO, **fields}).encode()


@pytest.mark.parametrize("name", CLOUD)
async def test_c14_a_name_that_leads_off_the_machine_is_a_404_like_any_unknown_one(name: str) -> None:
    relayed = FakeModel("relayed", remote_host="https://ollama.com:443", remote_model="gpt-oss:120b")
    models = [*DEFAULT_MODELS, relayed, FakeModel("gpt-oss:120b-cloud"), FakeModel("gpt-oss:cloud")]
    async with FakeOllama(models, cloud=True) as ollama, serving(ollama.url) as served:
        refused, unknown = await served.ask(body(model=name)), await served.ask(body(model="nowhere"))

        assert (refused.status, refused.error["code"]) == (404, "model_not_found") == (unknown.status, unknown.error["code"])
        assert {**refused.error, "message": ""} == {**unknown.error, "message": ""}
        assert "relayed" not in unknown.error["message"]
        assert not ollama.ledger.inference


PICTURES = {
    "http": "http://127.0.0.1:9/picture.png",
    "https": "https://example.com/picture.png",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "mapped": "http://[::ffff:169.254.169.254]/",
    "no scheme": "//127.0.0.1:9/picture.png",
    "file": "file:///etc/passwd",
    "ftp": "ftp://127.0.0.1/picture.png",
    "gopher": "gopher://127.0.0.1:6379/_PING",
    "path": "/etc/passwd",
    "upper case": "HTTP://127.0.0.1:9/picture.png",
    "data of another kind": "data:text/html;base64,PGh0bWw+",
    "data that is not base64": "data:image/png;base64,@@@@",
    "an address in data": "data:image/png;base64,http://127.0.0.1/",
    "empty": "",
}


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Where this process opens connections and what names it looks up, on whatever way: Python tells of each."""
    import sys

    addresses: list[Any] = []
    active = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if active and event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
            addresses.append(arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0])

    sys.addaudithook(hook)
    yield addresses
    active = False


@pytest.mark.parametrize("case", PICTURES)
async def test_c15_a_picture_is_never_fetched(connected: list[Any], case: str) -> None:
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PICTURES[case]}}]
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        known = {("127.0.0.1", ollama.port), ("127.0.0.1", served.port), "127.0.0.1", None}

        answer = await served.ask(body(model="llava", messages=[{"role": "user", "content": content}]))

        assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
        assert set(connected) <= known
        assert not ollama.ledger.inference


async def test_c15_a_picture_of_50_mb_is_a_413() -> None:
    content = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}{'A' * 50_000_000}"}}]
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        answer = await served.ask(body(model="llava", messages=[{"role": "user", "content": content}]))

        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert not ollama.ledger.requests


SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$" * 50}}}
TOO_MUCH: dict[str, dict[str, Any]] = {
    "n": {"n": 10_000},
    "stop": {"stop": [str(number) for number in range(10_000)]},
    "messages": {"messages": HELLO * 10_000},
    "tools": {"tools": [{"type": "function", "function": {"name": f"f{number}", "parameters": {}}} for number in range(5000)]},
    "temperature": {"temperature": 1e308},
    "logit_bias": {"logprobs": True, "top_logprobs": 10**9},
}


@pytest.mark.parametrize("case", TOO_MUCH)
async def test_c39_what_asks_for_too_much_is_a_400_and_costs_little(case: str) -> None:
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        asked = body(**TOO_MUCH[case])
        began = time.process_time()

        answer = await served.ask(asked)

        assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
        assert time.process_time() - began < 0.5
        assert not ollama.ledger.inference


async def test_c39_a_bound_that_ollama_could_not_read_is_the_largest_that_it_can() -> None:
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        answer = await served.ask(body(max_tokens=10**30))

        assert answer.status == 200
        assert ollama.ledger.last.body["options"]["num_predict"] == 2**31 - 1


async def test_c39_a_schema_with_a_hostile_pattern_is_passed_on_and_never_run() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    tool = {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "description": "a" * 5_000_000}}
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        began = time.process_time()

        formatted = await served.ask(body(response_format=schema, messages=[{"role": "user", "content": "a" * 1000 + "!"}]))
        offered = await served.ask(body(tools=[tool], tool_choice="none"))

        assert (formatted.status, offered.status) == (200, 200)
        assert time.process_time() - began < 2


async def test_c39_callers_cannot_make_ollama_reload_or_keep_a_model() -> None:
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        greedy = {"options": {"num_ctx": 1_000_000, "num_gpu": 0}, "num_ctx": 1_000_000, "keep_alive": -1}

        answer = await served.ask(body(**greedy))

        assert answer.status in (200, 400)
        for entry in ollama.ledger.inference:
            assert "keep_alive" not in entry.body
            assert not {"num_ctx", "num_gpu"} & set(entry.body.get("options", {}))


def test_the_hook_of_c15_sees_connections(connected: list[Any]) -> None:
    with socket.socket() as listening, socket.socket() as connecting:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        connecting.connect(listening.getsockname())

        assert connected == [listening.getsockname()]
