"""P64, C08, C37, C52: every refusal has the one shape and an id, whatever was wrong, and costs the others nothing."""

import json
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from faults.deep import DEEP
from faults.oracles import AUTH, KEY, Watched, chat_request, serving
from faults.strict import responses

from tornado_gateway.testing import FakeOllama, fail

BODY = json.dumps({"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}).encode()
HEAD = f"Host: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.fixture
async def served(ollama: FakeOllama) -> AsyncIterator[Watched]:
    server = {"max_body_bytes": 10_000_000, "body_seconds": 5, "keepalive_seconds": 0.3}
    async with serving(ollama.url, server=server) as running:
        yield running


REFUSED = {
    "400 malformed": f"GET / HTTP/1.1\r\n{HEAD}no colon\r\n\r\n",
    "400 in a bare LF": f"GET / HTTP/1.1\n{HEAD}\r\n\r\n",
    "400 no JSON": f"POST /v1/chat/completions HTTP/1.1\r\n{HEAD}Connection: close\r\nContent-Length: 1\r\n\r\n{{",
    "400 key in the query": f"GET /v1/models?api_key=x HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n",
    "401": "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "403": "GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    "404": f"GET /nothing HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n",
    "404 model": f"GET /v1/models/nothing HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n",
    "405": f"PATCH /v1/models HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n",
    "405 odd": f"FROB /v1/models HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n",
    "413": f"POST /v1/chat/completions HTTP/1.1\r\n{HEAD}Content-Length: 999999999\r\n\r\n",
    "415": f"POST /v1/chat/completions HTTP/1.1\r\n{HEAD}Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\n{{",
    "431": f"GET / HTTP/1.1\r\n{HEAD}X: {'a' * 70_000}\r\n\r\n",
}


@pytest.mark.parametrize("case", REFUSED)
async def test_p64_every_refusal_has_the_shape_an_id_and_no_banner(served: Watched, case: str) -> None:
    raw = await served.raw(REFUSED[case].encode())

    (answer,) = responses(raw)
    assert answer.status == int(case[:3])
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.headers["x-should-retry"] == "false"
    assert "server" not in answer.headers
    assert b"<" not in answer.body
    assert b"Traceback" not in answer.body


async def test_p64_a_failure_of_ollama_has_the_shape_too(served: Watched, ollama: FakeOllama) -> None:
    ollama.next(fail(500, "open /home/ada/.ollama/models/blobs: permission denied"))

    answer = await served.ask(BODY)

    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert b"ada" not in answer.body


async def test_c08_no_path_leads_anywhere_without_a_key(served: Watched, ollama: FakeOllama) -> None:
    chance = random.Random(8)
    pieces = [
        "/",
        "//",
        "/v1",
        "/api",
        "/models",
        "/chat/completions",
        "/tags",
        "/..",
        "/%2e%2e",
        "/.",
        ";a",
        "%2f",
        "%00",
        "?x=1",
        "#",
        "\\",
        "%",
        "V1",
        "~",
    ]
    for _ in range(500 if DEEP else 60):
        path = "/" + "".join(chance.choices(pieces, k=chance.randrange(1, 6)))
        method = chance.choice(["GET", "POST", "DELETE", "PUT"])
        raw = await served.raw(
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )

        (answer,) = responses(raw)
        assert answer.status in (400, 401, 404, 405) or (
            answer.status == 200 and path.partition("?")[0].partition("#")[0] == "/"
        ), path
    assert not ollama.ledger.requests


@pytest.mark.parametrize("part", [b"{},", b"1,", b'"\\u0041",', b"[[[[[]]]]],"])
async def test_c37_a_bomb_of_json_is_refused_off_the_loop_and_at_a_bounded_price(
    served: Watched, ollama: FakeOllama, part: bytes
) -> None:
    """The target is 50 ms of lateness on an idle machine; here others work beside."""
    messages = b"[" + part * (8_000_000 // len(part)) + b"{}]"
    before = psutil.Process().memory_info().rss
    served.gateway.services.lag.worst_seconds = 0.0

    answer = await served.ask(b'{"model":"llama3.2","messages":' + messages + b"}")

    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert served.gateway.services.lag.worst_seconds < 0.5
    assert psutil.Process().memory_info().rss - before < 30 * len(messages)
    assert not ollama.ledger.inference


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
async def test_c52_a_full_disk_is_not_felt_by_clients(ollama: FakeOllama, tmp_path: Path) -> None:
    for name in ("info.log", "error.log"):
        (tmp_path / name).symlink_to("/dev/full")
    logs = {"logging": {"directory": str(tmp_path), "console": "off"}}
    async with serving(ollama.url, plugins=[logs, AUTH]) as served:
        times = []
        for _ in range(100):
            began = time.perf_counter()
            answer = await served.raw(chat_request(BODY, more="Connection: close\r\n"))
            times.append(time.perf_counter() - began)
            assert b" 200 OK" in answer

        assert sorted(times)[50] < 0.1
