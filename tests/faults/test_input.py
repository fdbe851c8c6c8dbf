"""P55 to P60, P63, C12, C13, C35 to C38: bytes that are no good request, and good ones in pieces."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from faults.oracles import AUTH, KEY, Served, chat_request, serving

from tornado_gateway.testing import FakeOllama, say

BODY = json.dumps({"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.fixture
async def served(ollama: FakeOllama) -> AsyncIterator[Served]:
    server = {"body_seconds": 0.5, "keepalive_seconds": 0.5, "max_body_bytes": 100_000}
    async with serving(ollama.url, server=server) as running:
        yield running


def post(headers: bytes, body: bytes = BODY, *, key: str = KEY) -> bytes:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %b\r\n" % key.encode()
    return head + headers + b"\r\n" + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


FRAMINGS = {
    "negative length": post(b"Content-Length: -5\r\n"),
    "signed length": post(b"Content-Length: +5\r\n"),
    "hexadecimal length": post(b"Content-Length: 0x5\r\n"),
    "underscored length": post(b"Content-Length: 1_0\r\n"),
    "empty length": post(b"Content-Length: \r\n"),
    "different lengths": post(LENGTH + b"Content-Length: 5\r\n"),
    "the same length twice": post(LENGTH + LENGTH),
    "huge length": post(b"Content-Length: " + b"9" * 5000 + b"\r\n"),
    "length and chunked": post(LENGTH + b"Transfer-Encoding: chunked\r\n", CHUNKED),
    "chunked twice": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKED),
    "identity": post(LENGTH + b"Transfer-Encoding: identity\r\n"),
    "xchunked": post(b"Transfer-Encoding: xchunked\r\n", CHUNKED),
    "chunked and a tab": post(b"Transfer-Encoding: chunked\t\r\n", CHUNKED),
    "0x in a chunk size": post(b"Transfer-Encoding: chunked\r\n", b"0x5\r\nabcde\r\n0\r\n\r\n"),
    "negative chunk size": post(b"Transfer-Encoding: chunked\r\n", b"-5\r\nabcde\r\n0\r\n\r\n"),
    "signed chunk size": post(b"Transfer-Encoding: chunked\r\n", b"+5\r\nabcde\r\n0\r\n\r\n"),
    "empty chunk size": post(b"Transfer-Encoding: chunked\r\n", b"\r\nabcde\r\n0\r\n\r\n"),
    "overflowing chunk size": post(b"Transfer-Encoding: chunked\r\n", b"FFFFFFFFFFFFFFFF\r\nabcde\r\n0\r\n\r\n"),
    "missing CRLF behind a chunk": post(b"Transfer-Encoding: chunked\r\n", b"5\r\nabcdeXX0\r\n\r\n"),
    "trailers": post(b"Transfer-Encoding: chunked\r\n", CHUNKED[:-2] + b"X: y\r\n\r\n"),
    "chunk extensions": post(b"Transfer-Encoding: chunked\r\n", CHUNKED.replace(b"\r\n", b";a=b\r\n", 1)),
    "chunked in HTTP/1.0": post(b"Transfer-Encoding: chunked\r\n", CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0"),
}

HEADS = {
    "bare LF": post(LENGTH).replace(b"\r\n", b"\n"),
    "a length behind a bare LF": post(b"X: a\nContent-Length: 5\r\n" + LENGTH),
    "chunked behind a bare LF": post(b"X: a\nTransfer-Encoding: chunked\r\n" + LENGTH),
    "bare CR": post(b"X: a\rb\r\n" + LENGTH),
    "obs-fold": post(b"X: a\r\n b\r\n" + LENGTH),
    "NUL": post(b"X: a\0b\r\n" + LENGTH),
    "empty name": post(b": a\r\n" + LENGTH),
    "space before the colon": post(b"X : a\r\n" + LENGTH),
    "no colon": post(b"X\r\n" + LENGTH),
    "no Host": post(LENGTH).replace(b"Host: 127.0.0.1\r\n", b""),
    "two Hosts": post(b"Host: localhost\r\n" + LENGTH),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("case", [*FRAMINGS, *HEADS])
async def test_p55_p56_what_can_be_read_in_two_ways_is_refused_and_closed(
    served: Served, ollama: FakeOllama, case: str
) -> None:
    tail = post(LENGTH)

    answer = await served.raw({**FRAMINGS, **HEADS}[case] + tail)

    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
    assert not ollama.ledger.inference


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"a" * 70_000 + b"\r\n",
        b"".join(b"X%d: a\r\n" % number for number in range(3000)),
        b"Cookie: " + b"a=b; " * 13_000 + b"\r\n",
    ],
)
async def test_p57_a_head_that_is_too_large_is_a_431(served: Served, head: bytes) -> None:
    answer = await served.raw(post(head + LENGTH))

    assert status(answer) == 431
    assert b'"headers_too_large"' in answer


async def test_p57_how_long_a_head_may_be_is_a_setting(ollama: FakeOllama) -> None:
    long = post(b"X: " + b"a" * 20_000 + b"\r\nConnection: close\r\n" + LENGTH)
    async with serving(ollama.url, server={"max_header_bytes": 32_768}) as served:
        assert status(await served.raw(long)) == 200
    async with serving(ollama.url, server={"max_header_bytes": 1024}) as served:
        assert status(await served.raw(post(b"X: " + b"a" * 2000 + b"\r\n" + LENGTH))) == 431


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", {404, 405}),
        (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}),
        (b"GET http://localhost/api/tags HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", {404}),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", {404}),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", {200}),
        (b"FROB /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}),
        (b"GET /healthz?" + b"a&" * 1001 + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", {400}),
    ],
)
async def test_p58_odd_requests_get_json_and_are_never_passed_on(
    served: Served, ollama: FakeOllama, raw: bytes, expected: set[int]
) -> None:
    answer = await served.raw(raw)

    assert status(answer) in expected
    assert b"<html" not in answer
    assert not ollama.ledger.requests


async def test_p59_a_stranger_is_not_told_to_continue(served: Served) -> None:
    answer = await served.raw(post(b"Expect: 100-continue\r\n" + LENGTH, b"", key="wrong"))

    assert status(answer) == 401
    assert b"100" not in answer.partition(b"\r\n")[0]


@pytest.mark.parametrize("expectation", [b"100-continue", b"100-Continue", b"100-CONTINUE"])
async def test_p59_who_may_send_is_told_to_continue(served: Served, expectation: bytes) -> None:
    reader, writer = await served.connect()
    writer.write(post(b"Connection: close\r\nExpect: " + expectation + b"\r\n" + LENGTH, b""))

    assert b" 100 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
    writer.write(BODY)
    assert status(await asyncio.wait_for(reader.read(), 5)) == 200
    writer.close()


async def test_p59_a_body_that_is_too_large_is_not_continued(served: Served) -> None:
    answer = await served.raw(post(b"Expect: 100-continue\r\nContent-Length: 200000\r\n", b""))

    assert status(answer) == 413


@pytest.mark.parametrize("asked", ["close", "Close", "TE, close", "close, TE", "keep-alive, close"])
async def test_p58_a_close_among_other_words_is_a_close(ollama: FakeOllama, asked: str) -> None:
    async with serving(ollama.url) as served:
        answer = await served.raw(f"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: {asked}\r\n\r\n".encode())

    assert status(answer) == 200
    assert b"Connection: close\r\n" in answer


async def test_p60_a_request_in_single_bytes_is_the_same_request(served: Served, ollama: FakeOllama) -> None:
    ollama.next(say("whole"))
    reader, writer = await served.connect()
    for byte in chat_request(BODY, more="Connection: close\r\n"):
        writer.write(bytes([byte]))
        await writer.drain()

    answer = await asyncio.wait_for(reader.read(), 5)

    assert status(answer) == 200
    assert b"whole" in answer
    writer.close()


async def test_p60_pipelined_requests_are_answered_in_order(served: Served, ollama: FakeOllama) -> None:
    for text in ("first", "second", "third"):
        ollama.next(say(text))

    answer = await served.raw(chat_request(BODY) * 2 + chat_request(BODY, more="Connection: close\r\n"))

    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.index(b"first") < answer.index(b"second") < answer.index(b"third")


@pytest.mark.parametrize("raw", [b"POST /v1/chat", b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", post(LENGTH, b"{")])
async def test_c32_slow_and_silent_connections_are_closed(served: Served, raw: bytes) -> None:
    assert await served.raw(raw) == b""


async def test_c35_a_strangers_body_is_not_read(served: Served) -> None:
    answer = await served.raw(post(b"Content-Length: 100000000\r\n", b"{" * 1000, key="wrong"))

    assert status(answer) == 401


@pytest.mark.parametrize("framing", [b"Content-Length: 100000000\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_c35_a_stranger_who_goes_on_sending_is_cut_off_early(served: Served, framing: bytes) -> None:
    """64 KB are read; the rest of what could be sent lies in the kernel's buffers on both sides."""
    reader, writer = await served.connect()
    writer.write(post(framing, b"", key="wrong"))
    await reader.readuntil(b"\r\n\r\n")
    sent = 0
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(5):
            while sent < 40_000_000:
                writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                await writer.drain()
                sent += 65536

    assert sent < 20_000_000
    writer.transport.abort()


async def test_c36_a_413_can_be_read_while_the_body_still_comes(served: Served) -> None:
    declared = await served.raw(post(b"Content-Length: 5000000\r\n", b" " * 5_000_000))
    chunks = b"".join(b"2710\r\n" + b" " * 10_000 + b"\r\n" for _ in range(300)) + b"0\r\n\r\n"
    crossing = await served.raw(post(b"Transfer-Encoding: chunked\r\n", chunks))

    for answer in (declared, crossing):
        assert status(answer) == 413
        assert b'"request_too_large"' in answer


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' * 100_000,
        b"[" * 90_000,
        BODY.decode().encode("utf-16"),
        BODY.decode().encode("utf-32"),
        b"\xef\xbb\xbf" + BODY,
        b'{"model": "\xff"}',
        b"",
        b"null",
        b"[]",
        b'{"model": "llama3.2", "messages": NaN}',
        BODY + b"x",
    ],
)
async def test_c12_c37_what_is_not_json_is_a_400(served: Served, ollama: FakeOllama, body: bytes) -> None:
    more = "Content-Type: application/json\r\nConnection: close\r\n"

    answer = await served.raw(chat_request(body[:90_000], more=more))

    assert status(answer) == 400
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] in ("invalid_json", "invalid_request")
    assert not ollama.ledger.inference


PATHS = [
    "pull",
    "push",
    "create",
    "copy",
    "delete",
    "blobs/sha256:0",
    "show",
    "me",
    "signout",
    "tags",
    "ps",
    "chat",
    "generate",
    "embed",
]


@pytest.mark.parametrize(
    "path", [*(f"/api/{name}" for name in PATHS), "/debug/pprof/", "/api/experimental/web_fetch", "//v1/models"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD"])
async def test_c13_ollamas_own_addresses_are_not_here(served: Served, ollama: FakeOllama, method: str, path: str) -> None:
    raw = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"

    assert status(await served.raw(raw.encode())) == 404
    assert not ollama.ledger.requests


@pytest.mark.parametrize(
    "path", ["/v1/../api/tags", "/v1/%2e%2e/api/tags", "/V1/models", "/v1/models/", "/v1/chat/completions/"]
)
async def test_c08_tricks_with_paths_lead_nowhere_without_a_key(served: Served, ollama: FakeOllama, path: str) -> None:
    answer = await served.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())

    assert status(answer) in (401, 404)
    assert not ollama.ledger.requests


async def test_p63_a_named_web_page_may_ask_and_others_may_not(ollama: FakeOllama) -> None:
    async with serving(ollama.url, server={"cors_origins": ["https://chat.example"]}) as served:
        preflight = (
            "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: {}\r\n"
            "Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n"
        )
        named = await served.raw(preflight.format("https://chat.example").encode())
        other = await served.raw(preflight.format("https://evil.example").encode())
        asked = await served.raw(chat_request(BODY, more="Origin: https://chat.example\r\nConnection: close\r\n"))

    assert status(named) == 204
    assert b"Access-Control-Allow-Origin: https://chat.example\r\n" in named
    assert status(other) == 403
    assert b'"origin_not_allowed"' in other
    assert status(asked) == 200
    assert b"Access-Control-Allow-Origin: https://chat.example\r\n" in asked


async def test_p63_a_named_web_page_may_read_that_an_address_is_none(ollama: FakeOllama) -> None:
    async with serving(ollama.url, server={"cors_origins": ["https://chat.example"]}) as served:
        asked = "{} /v1/responses HTTP/1.1\r\nHost: localhost\r\nOrigin: {}\r\n{}Connection: close\r\n\r\n"
        first = "Access-Control-Request-Method: POST\r\n"
        answers = {
            (method, origin): await served.raw(asked.format(method, f"https://{origin}.example", more).encode())
            for method, more in (("OPTIONS", first), ("POST", ""))
            for origin in ("chat", "evil")
        }

    named = {method for (method, _), answer in answers.items() if b"Allow-Origin: https://chat.example\r\n" in answer}
    assert [status(answer) for answer in answers.values()] == [204, 404, 404, 404]
    assert named == {"OPTIONS", "POST"}
    assert not any(b"evil" in answer for answer in answers.values())


async def test_c11_what_is_sent_is_made_anew_from_what_was_checked(ollama: FakeOllama) -> None:
    body = b'{"model":"qwen3","Model":"llava","\\u006dodel":"llama3.2","\\u017ftream":true,"messages":[{"role":"user","content":"x","Content":"y"}]}'
    async with serving(ollama.url, plugins=[AUTH]) as served:
        answer = await served.raw(chat_request(body, more="Connection: close\r\n"))

    sent = ollama.ledger.inference[0].raw
    assert status(answer) == 200
    assert sent.count(b'"model"') == 1
    assert ollama.ledger.inference[0].model == "llama3.2:latest"
    assert b"llava" not in sent
    assert b'"y"' not in sent


async def test_p56_a_bad_head_whose_sender_has_left_leaves_no_trace(served: Served) -> None:
    """Behind a good request, so that it lies read when the connection ends; found by the fuzz target of requests."""
    reader, writer = await served.connect()
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n\n\n")
    writer.write_eof()

    await asyncio.wait_for(reader.read(), 5)
    writer.close()
