"""Routes, doors and names, and connections that carry more than one request."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from rawpeer import Peer, call, chat

from tornado_gateway.testing import FakeModel, FakeOllama, fail, say


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/", 200),
        ("HEAD", "/api/tags", 200),
        ("HEAD", "/api/version", 200),
        ("GET", "/api/tags?x=1", 200),
        ("HEAD", "/api/chat", 405),
        ("GET", "/api/tags/", 301),
        ("POST", "/api/chat/", 307),
        ("GET", "/API/tags", 404),
        ("POST", "/api/pull", 404),
        ("POST", "/control/next", 404),
    ],
)
async def test_each_route_answers_its_methods(ollama: FakeOllama, method: str, path: str, status: int) -> None:
    assert (await call(ollama.port, method, path)).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Origin: http://localhost:3000\r\n", 200),
        ("Origin: http://127.0.0.1\r\n", 200),
        ("Origin: app://x\r\n", 200),
        ("Origin: https://example.com\r\n", 403),
        ("Origin: null\r\n", 403),
    ],
)
async def test_a_foreign_origin_is_refused_at_the_door(ollama: FakeOllama, headers: str, status: int) -> None:
    answer = await call(ollama.port, "GET", "/api/tags", headers=headers)

    assert answer.status == status
    assert status == 200 or answer.body == b""


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:1", 200), ("10.0.0.1", 200), ("[::1]:80", 200), ("x.local", 200), ("8.8.8.8", 403), ("evil.example", 403)],
)
async def test_a_foreign_host_is_refused_at_the_door(ollama: FakeOllama, host: str, status: int) -> None:
    async with Peer(ollama.port) as peer:
        peer.send(f"GET /api/version HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

        assert (await peer.read()).status == status


@pytest.mark.parametrize(
    ("endpoint", "name", "status", "text"),
    [
        ("/api/chat", "nope", 404, "model 'nope' not found"),
        ("/api/chat", "Nope:7b", 404, "model 'Nope:7b' not found"),
        ("/api/generate", "", 404, "model '' not found"),
        ("/api/embed", "", 404, "model '' not found"),
        ("/api/embed", "nope", 404, 'model "nope" not found, try pulling it first'),
        ("/api/show", "nope", 404, "model 'nope:latest' not found"),
        ("/api/show", "x:cloud", 403, "ollama cloud is disabled: remote model details are unavailable"),
        ("/api/generate", "x:120b-cloud", 403, "ollama cloud is disabled: remote model is unavailable"),
        ("/api/generate", "all-minilm:l6", 400, '"all-minilm:l6" does not support generate'),
        ("/api/embed", "a//b", 400, "invalid model name"),
    ],
)
async def test_each_endpoint_has_its_own_words(ollama: FakeOllama, endpoint: str, name: str, status: int, text: str) -> None:
    body = {"model": name, "messages": [{"role": "user", "content": "x"}], "prompt": "x", "input": "x"}

    answer = await call(ollama.port, "POST", endpoint, body)

    assert (answer.status, answer.json()) == (status, {"error": text})


@pytest.mark.parametrize(
    "name", ["llama3.2", "LLAMA3.2:Latest", " llama3.2 ", "library/llama3.2", "registry.ollama.ai/library/llama3.2:latest"]
)
async def test_a_name_is_found_however_it_is_spelled_and_echoed_as_sent(ollama: FakeOllama, name: str) -> None:
    answer = await call(ollama.port, "POST", "/api/chat", chat(model=name, stream=False))

    assert (answer.status, answer.json()["model"]) == (200, name)


async def test_capabilities_are_asked_with_the_full_name(ollama: FakeOllama) -> None:
    ollama.add_model(FakeModel("hf.co/owner/model:q4"))
    ollama.add_model(FakeModel("owner/model"))

    async def error(name: str) -> str:
        text: str = (await call(ollama.port, "POST", "/api/chat", chat(model=name, tools=[{"type": "function"}]))).json()[
            "error"
        ]
        return text

    assert await error("hf.co/owner/model:q4") == "hf.co/owner/model:q4 does not support tools"
    assert await error("owner/model") == "registry.ollama.ai/owner/model:latest does not support tools"


async def test_what_the_runner_refuses_is_framed_as_a_stream_when_one_was_asked_for(ollama: FakeOllama) -> None:
    body: dict[str, Any] = {"model": "llama3.2", "messages": [{"role": "user", "content": "x", "images": [""]}]}

    streamed = await call(ollama.port, "POST", "/api/chat", body)
    whole = await call(ollama.port, "POST", "/api/chat", {**body, "stream": False})

    assert (streamed.status, streamed.headers["content-type"]) == (400, "application/json")
    assert streamed.headers["transfer-encoding"] == "chunked"
    assert whole.headers["content-type"] == "application/json; charset=utf-8"


async def test_a_remote_model_is_served_when_the_cloud_is_on() -> None:
    model = FakeModel("gpt-oss:120b-cloud", remote_host="https://ollama.com:443", remote_model="gpt-oss:120b")
    async with FakeOllama([model], cloud=True) as ollama:
        record = (await call(ollama.port, "POST", "/api/chat", chat(model=model.name, stream=False))).json()

    assert (record["remote_model"], record["remote_host"]) == ("gpt-oss:120b", "https://ollama.com:443")


async def test_a_connection_is_kept_over_answers_and_errors(ollama: FakeOllama) -> None:
    ollama.next(say("One."), fail())

    async with Peer(ollama.port) as peer:
        assert (await peer.call("POST", "/api/chat", chat())).text() == "One."
        assert (await peer.call("POST", "/api/chat", chat())).status == 500
        assert (await peer.call("GET", "/nope")).status == 404
        assert (await peer.call("GET", "/api/version")).status == 200
    assert ollama.ledger.connections_opened == 1


async def test_pipelined_requests_are_answered_in_order(ollama: FakeOllama) -> None:
    ollama.next(say("One two.", tokens_per_second=500), say("Three."))

    async with Peer(ollama.port) as peer:
        peer.ask("POST", "/api/chat", chat())
        peer.ask("POST", "/api/chat", chat())
        peer.ask("GET", "/")

        assert [(await peer.read()).text() for _ in range(2)] == ["One two.", "Three."]
        assert (await peer.read()).body == b"Ollama is running"


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_request_may_come_in_pieces_and_in_chunks(ollama: FakeOllama, size: int) -> None:
    ollama.next(say("Whole."))
    body = b'{"model":"llama3.2","messages":[{"role":"user","content":"x"}]}'
    head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:20], body[20:])) + b"0\r\n\r\n"

    async with Peer(ollama.port) as peer:
        for start in range(0, len(data), size):
            peer.send(data[start : start + size])
            await peer.writer.drain()

        assert (await peer.read()).text() == "Whole."
    assert ollama.ledger.last.raw == body


async def test_a_client_that_expects_100_gets_it(ollama: FakeOllama) -> None:
    async with Peer(ollama.port) as peer:
        peer.send(b"POST /api/show HTTP/1.1\r\nHost: x.local\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await peer.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"{}")

        assert (await peer.read()).json() == {"error": "model is required"}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nbroken\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
async def test_bytes_that_are_no_request_end_the_connection(ollama: FakeOllama, data: bytes, status: int) -> None:
    async with Peer(ollama.port) as peer:
        peer.send(data)

        assert (await peer.rest()).startswith(b"HTTP/1.1 %d " % status)
    assert ollama.ledger.requests_seen == 0


@pytest.mark.parametrize("head", ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"])
async def test_a_client_that_wants_the_connection_closed_gets_it(ollama: FakeOllama, head: str) -> None:
    async with Peer(ollama.port) as peer:
        peer.send(head.encode())

        assert b"\r\nConnection: close\r\n" in await peer.rest()
