"""C04, C10, C21, C22, C40, C42: whatever Ollama sends, a client gets whole events, its own answer, and an honest end."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
from faults.deep import DEEP
from faults.oracles import AUTH, Watched, serving

from tornado_gateway.testing import Behaviour, FakeOllama, hang, say

ONCE = json.dumps({"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}).encode()
STREAMED = ONCE[:-1] + b',"stream":true}'
SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
FOREIGN = b'{"model":"m","message":{"role":"assistant","content":"smuggled"},"done":true,"done_reason":"stop"}'


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.fixture
async def served(ollama: FakeOllama) -> AsyncIterator[Watched]:
    async with serving(ollama.url) as running:
        yield running


@pytest.mark.parametrize("trailing", [SMUGGLED % (len(FOREIGN), FOREIGN), b"\r\n", b"x", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_c04_what_follows_an_answer_is_nobodys(served: Watched, ollama: FakeOllama, trailing: bytes) -> None:
    for number in range(1250 if DEEP else 5):
        ollama.next(say("one", trailing=trailing), say("two"))

        first = await served.ask(STREAMED if number % 2 else ONCE)
        second = await served.ask(ONCE)

        assert (first.status, second.status) == (200, 200)
        assert b"smuggled" not in first.body + second.body
        assert json.loads(second.body)["choices"][0]["message"]["content"] == "two"


async def test_c04_what_comes_on_an_idle_connection_is_nobodys(served: Watched, ollama: FakeOllama) -> None:
    for _ in range(200 if DEEP else 10):
        ollama.next(say("one"), say("two"))
        await served.ask(ONCE)
        ollama.send_unasked(SMUGGLED % (len(FOREIGN), FOREIGN))

        answer = await served.ask(ONCE)

        assert json.loads(answer.body)["choices"][0]["message"]["content"] == "two"


INJECTIONS = [
    "\n\n",
    "\r",
    "\r\n\r\ndata: x\n\n",
    "data: [DONE]\n\n",
    "event: error\ndata: {}\n\n",
    "\u2028\u2029\u0085",
    "id: 1\nretry: 1\n\n",
    "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "\0\x1b[2J",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
]


async def test_c10_no_text_of_a_model_can_end_an_event(served: Watched, ollama: FakeOllama) -> None:
    ollama.next(Behaviour(pieces=INJECTIONS), Behaviour(pieces=INJECTIONS))

    streamed, once = await served.ask(STREAMED), await served.ask(ONCE)

    assert streamed.text == "".join(INJECTIONS) == json.loads(once.body)["choices"][0]["message"]["content"]
    assert len(streamed.events) == len(INJECTIONS) + 2  # the finish reason and [DONE] behind them
    assert streamed.whole


async def test_c10_no_name_of_a_client_can_end_an_event_or_a_head(served: Watched, ollama: FakeOllama) -> None:
    for name in INJECTIONS:
        answer = await served.ask(json.dumps({"model": name, "messages": [], "x\r\nX-Evil: 1": 1, "stream": True}).encode())

        assert answer.status in (400, 404)
        assert "x-evil" not in answer.headers
    assert not ollama.ledger.inference


@pytest.mark.parametrize(
    ("reason", "expected"), [("stop", "stop"), ("length", "length"), ("load", "stop"), ("unload", "stop"), ("novel", "stop")]
)
async def test_c21_ollamas_reason_has_its_written_translation(
    served: Watched, ollama: FakeOllama, reason: str, expected: str
) -> None:
    ollama.next(say("Good day", done_reason=reason), say("Good day", done_reason=reason))

    streamed, once = await served.ask(STREAMED), await served.ask(ONCE)

    assert streamed.finish_reasons == [expected]
    assert json.loads(once.body)["choices"][0]["finish_reason"] == expected


async def test_c22_a_reused_connection_that_dies_with_a_request_is_not_tried_again(served: Watched, ollama: FakeOllama) -> None:
    await served.ask(ONCE)
    ollama.next(Behaviour(stop_after_bytes=0, end="reset"))

    answer = await served.ask(ONCE)

    assert (answer.status, answer.error["code"]) == (502, "upstream_closed")
    assert answer.headers["x-should-retry"] == "false"
    assert len(ollama.ledger.inference) == 2


LINE = b'{"model":"m","message":{"role":"assistant","content":"%s"},"done":false}'


async def test_c40_a_line_without_an_end_is_refused_at_its_limit(served: Watched, ollama: FakeOllama) -> None:
    ollama.next(Behaviour(records=[LINE % (b"x" * 50_000_000)]), Behaviour(records=[LINE % (b"x" * 50_000_000)]))
    before = psutil.Process().memory_info().rss

    for body in (STREAMED, ONCE):
        answer = await served.ask(body)
        assert (answer.status, answer.error["code"]) == (502, "upstream_invalid_response")

    # The simulated Ollama lives in this process and holds the lines; the gateway's own part is bounded by the length of a line.
    assert ollama.ledger.last.left_at is not None
    assert psutil.Process().memory_info().rss - before < 250_000_000


async def test_c40_single_bytes_are_put_together(served: Watched, ollama: FakeOllama) -> None:
    ollama.next(say("word by word " * (2000 if DEEP else 20), chunk_bytes=1))

    answer = await served.ask(STREAMED)

    assert answer.text.split() == ["word", "by", "word"] * (2000 if DEEP else 20)
    assert answer.whole


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 65_536 + b"\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 12 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\0" * 100_000,
    ],
    ids=lambda raw: repr(raw[:40]),
)
async def test_c40_what_no_ollama_would_send_is_a_502(served: Watched, ollama: FakeOllama, raw: bytes) -> None:
    ollama.next(Behaviour(raw=raw))

    answer = await served.ask(STREAMED)

    assert (answer.status, answer.error["code"]) == (502, "upstream_invalid_response")
    assert len(ollama.ledger.inference) == 1


async def test_c40_the_loop_is_not_late_while_much_comes_in(served: Watched, ollama: FakeOllama) -> None:
    """The flood of the simulated Ollama runs in the same loop: what is measured is both."""
    ollama.next(Behaviour(pieces=["x" * 200] * 20_000, records_per_chunk=50))
    late: list[float] = []

    async def look() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            late.append(time.monotonic() - began - 0.005)

    looking = asyncio.get_running_loop().create_task(look())
    answer = await served.ask(STREAMED)
    looking.cancel()

    assert len(answer.text) == 4_000_000
    assert sorted(late)[len(late) // 2] < 0.05


async def test_c42_a_stream_whose_tokens_are_far_apart_is_not_cut(ollama: FakeOllama) -> None:
    """Ten minutes with a token every 20 s, a hundred times as fast: pauses of a third of the limit, many limits long."""
    upstream = {"first_byte_seconds": 0.6, "idle_seconds": 0.6, "connect_seconds": 0.6}
    server = {"body_seconds": 0.6, "keepalive_seconds": 0.6, "write_stall_seconds": 0.6, "heartbeat_seconds": 0.6}
    async with serving(ollama.url, server=server, upstream=upstream) as served:
        ollama.next(say("token " * 15, tokens_per_second=5))

        answer = await served.ask(STREAMED)

        assert answer.text.split() == ["token"] * 15
        assert answer.whole


async def test_c41_silence_after_the_head_ends_with_the_idle_limit(ollama: FakeOllama) -> None:
    async with serving(ollama.url, upstream={"idle_seconds": 0.4, "first_byte_seconds": 0.4}) as served:
        ollama.next(hang(after_records=0))
        began = time.monotonic()

        answer = await served.ask(STREAMED)

        assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
        assert 0.35 <= time.monotonic() - began < 1.5


async def test_c43_a_hundred_requests_hear_at_once_that_ollama_is_away(ollama: FakeOllama) -> None:
    async with serving(ollama.url, plugins=[AUTH]) as served:
        await ollama.stop()
        began = time.monotonic()

        answers = await asyncio.gather(*(served.ask(ONCE) for _ in range(100)))

        assert {(answer.status, answer.error["code"]) for answer in answers} == {(503, "upstream_unavailable")}
        assert all(answer.headers["x-should-retry"] == "true" and answer.headers["retry-after"] for answer in answers)
        assert time.monotonic() - began < 5
        await ollama.start()
        await recovered(served)


async def recovered(served: Watched) -> Any:
    async with asyncio.timeout(5):
        while (answer := await served.ask(ONCE)).status != 200:  # noqa: ASYNC110  # it waits as long as the client is told to
            await asyncio.sleep(float(answer.headers["retry-after-ms"]) / 1000)
    return answer
