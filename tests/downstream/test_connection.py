"""From bytes to requests of an application, in whatever pieces and order they come."""

import asyncio
import contextlib
import logging
import time

import pytest
from downstream.conftest import Handler, Stage, echo
from tornado.iostream import StreamClosedError

from tornado_gateway.downstream import ClientConnection

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%b\r\n"
SOON = 5


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return await asyncio.wait_for(reader.readexactly(length), SOON)


async def much(handler: Handler) -> None:
    """Answer with more than the kernel takes at once."""
    handler.peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000)
    handler.peer.finish(keep_alive=True)


async def congested(stage: Stage, requests: bytes = GET) -> tuple[asyncio.StreamReader, ClientConnection]:
    """A client of that answer, which has not read all of it."""
    reader, writer = await stage.connect()
    writer.write(requests)
    await stage.until(lambda: stage.connection and stage.connection.congested)
    assert stage.connection
    return reader, stage.connection


async def test_a_body_that_came_with_its_head_is_there_before_the_handler_begins(stage: Stage) -> None:
    stage.ready.clear()
    reader, writer = await stage.connect()
    writer.write(POST % (5, b"") + b"Hello")
    await stage.until(lambda: stage.handlers)

    assert stage.handlers[0].body == b"Hello"
    stage.ready.set()
    assert await answer(reader) == b"Hello"


async def test_a_large_body_waits_for_the_handler_in_the_clients_kernel(stage: Stage) -> None:
    stage.ready.clear()
    _, writer = await stage.connect()
    size = 3_000_000
    writer.write(POST % (size, b"") + b"x" * size)
    await stage.until(lambda: stage.connection and stage.connection._watched >= 0)

    held = stage.connection and len(stage.connection._unread) + len(stage.connection._held)
    assert 0 < (held or 0) < 1_000_000
    assert stage.handlers[0].body == b""
    stage.ready.set()
    await stage.until(lambda: len(stage.handlers[0].body) == size)
    writer.transport.abort()


async def test_a_client_is_told_to_continue_when_the_handler_is_ready(stage: Stage) -> None:
    stage.ready.clear()
    reader, writer = await stage.connect()
    writer.write(POST % (5, b"Expect: 100-continue\r\n"))
    await stage.until(lambda: stage.handlers)
    stage.ready.set()

    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"Hello")
    assert await answer(reader) == b"Hello"


async def test_who_sends_without_being_told_is_not_told(stage: Stage) -> None:
    stage.ready.clear()
    reader, writer = await stage.connect()
    writer.write(POST % (5, b"Expect: 100-continue\r\n") + b"He")
    await stage.until(lambda: stage.handlers)
    stage.ready.set()
    writer.write(b"llo")

    assert await answer(reader) == b"Hello"


async def test_requests_in_single_bytes_and_all_at_once_are_the_same(stage: Stage) -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    requests = b"\r\n" + GET + POST % (3, b"") + b"one" + chunked + GET
    reader, writer = await stage.connect()

    writer.write(requests)
    together = [await answer(reader) for _ in range(4)]
    for byte in requests:
        writer.write(bytes([byte]))
        await writer.drain()
    apart = [await answer(reader) for _ in range(4)]

    assert together == apart == [b"", b"one", b"abc", b""]


async def test_a_handler_that_is_busy_with_a_part_of_the_body_is_waited_for(stage: Stage) -> None:
    gate = asyncio.Event()

    async def take(_: Handler) -> None:
        await gate.wait()

    stage.take = take
    reader, writer = await stage.connect()
    writer.write(POST % (6, b"") + b"one")
    await stage.until(lambda: stage.handlers and stage.handlers[0].body)
    writer.write(b"two")
    await stage.until(lambda: stage.connection and stage.connection._watched >= 0)

    assert stage.handlers[0].body == b"one"
    gate.set()
    assert await answer(reader) == b"onetwo"


async def test_the_next_request_waits_until_the_answer_is_taken(stage: Stage) -> None:
    stage.work = much
    reader, _ = await congested(stage, GET * 3)
    for _ in range(20):
        await asyncio.sleep(0)

    assert len(stage.handlers) == 1
    for _ in range(3):
        assert len(await answer(reader)) == 5_000_000
    assert len(stage.handlers) == 3


async def test_what_is_no_request_gets_words_and_a_line_in_the_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tornado_gateway")
    reader, writer = await stage.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n" + GET)

    said = await asyncio.wait_for(reader.read(), SOON)

    assert said.startswith(b"HTTP/1.1 400 ")
    assert b'"invalid_request_error"' in said
    assert not stage.handlers
    assert [record.msg for record in caplog.records] == ["request_malformed"]
    assert "Host :" not in caplog.text


async def test_a_head_that_is_too_long_is_refused_before_it_has_ended(stage: Stage) -> None:
    reader, writer = await stage.connect()
    writer.write(b"GET / HTTP/1.1\r\nX: " + b"a" * 5000)

    assert (await asyncio.wait_for(reader.read(), SOON)).startswith(b"HTTP/1.1 431 ")


async def test_a_body_that_breaks_off_into_nonsense_is_refused_and_its_handler_told(stage: Stage) -> None:
    reader, writer = await stage.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await stage.until(lambda: stage.handlers)
    writer.write(b"nonsense\r\n")

    assert (await asyncio.wait_for(reader.read(), SOON)).startswith(b"HTTP/1.1 400 ")
    await asyncio.wait_for(stage.left.wait(), SOON)


async def test_a_body_that_breaks_off_behind_its_answer_gets_no_second_one(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler may answer while the body still comes, and read on only so that its answer is read."""

    async def refuse(handler: Handler) -> None:
        handler.peer.write(b"HTTP/1.1 413 No\r\n\r\n")
        await handler.peer.shut_sending()

    stage.take = refuse
    reader, writer = await stage.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert await asyncio.wait_for(reader.read(), SOON) == b"HTTP/1.1 413 No\r\n\r\n"
    writer.write(b"nonsense\r\n")

    await asyncio.wait_for(stage.left.wait(), SOON)
    assert stage.connection
    assert stage.connection.lingering
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_what_lies_unread_does_not_grow_with_each_answer(stage: Stage) -> None:
    reader, writer = await stage.connect()
    writer.write(GET * 200_000)
    for _ in range(100):
        await answer(reader)

    assert stage.connection
    assert len(stage.connection._unread) < 1_000_000
    writer.transport.abort()


async def test_a_head_longer_than_what_is_read_ahead_is_read_on(stage: Stage) -> None:
    """Behind a request that is at work, reading stops before this head has ended."""
    stage.max_header_bytes = 2_000_000
    stage.ready.clear()
    reader, writer = await stage.connect()
    writer.write(GET + GET[:-2] + b"X: " + b"a" * 1_500_000 + b"\r\n\r\n")
    await stage.until(lambda: stage.connection and stage.connection._watched >= 0)
    stage.ready.set()

    assert [await answer(reader) for _ in range(2)] == [b"", b""]


async def test_empty_lines_before_a_request_cost_no_more_than_they_are_long(stage: Stage) -> None:
    reader, writer = await stage.connect()
    writer.write(b"\r\n" * 2_000_000 + GET)

    assert await answer(reader) == b""


async def test_who_leaves_behind_more_than_is_read_is_seen(stage: Stage) -> None:
    release = asyncio.Event()

    async def wait(handler: Handler) -> None:
        await release.wait()
        await echo(handler)

    stage.work = wait
    _, writer = await stage.connect()
    writer.write(GET + b"x" * 200_000)
    await stage.until(lambda: stage.connection and stage.connection._watched >= 0)
    writer.close()

    await asyncio.wait_for(stage.left.wait(), SOON)
    await asyncio.wait_for(stage.lost.wait(), SOON)
    release.set()


async def test_who_has_left_holds_nothing_any_more(stage: Stage) -> None:
    """Else request and connection would hold each other, and the collector is told to look seldom."""
    stage.ready.clear()
    _, writer = await stage.connect()
    writer.write(POST % (100, b"") + b"Hello")
    await stage.until(lambda: stage.handlers)
    writer.close()
    await asyncio.wait_for(stage.lost.wait(), SOON)

    connection = stage.connection
    assert connection
    assert (connection._delegate, connection._body, connection._unread, connection._held) == (None, None, b"", b"")
    stage.ready.set()


@pytest.mark.parametrize(
    ("sent", "after", "overdue"),
    [
        (b"", 0.9, False),
        (b"", 1.1, True),
        (b"GET /", 0.9, False),
        (b"GET /", 1.1, True),
        (GET, 1.1, False),
        (GET, 10.1, True),
        (GET + b"GET /", 1.1, True),
        (POST % (5, b"") + b"H", 0.9, False),
        (POST % (5, b"") + b"H", 1.1, True),
    ],
)
async def test_how_long_each_part_may_take(stage: Stage, sent: bytes, after: float, overdue: bool) -> None:
    """A head and a body have a second here, from their first byte; a connection that has had its answer ten."""
    reader, writer = await stage.connect()
    connection = stage.connection
    assert connection
    writer.write(sent)
    if sent.startswith(GET):
        await answer(reader)
        await stage.until(lambda: sent == GET or connection._unread)
    elif sent.startswith(b"POST"):
        await stage.until(lambda: connection._taking)
    else:
        await stage.until(lambda: not sent or connection._unread)

    assert connection.overdue(connection._since + after, 1, 10) is overdue


async def test_a_request_at_work_is_never_overdue(stage: Stage) -> None:
    stage.ready.clear()
    _, writer = await stage.connect()
    writer.write(GET)
    await stage.until(lambda: stage.handlers)

    assert stage.connection
    assert stage.connection.busy
    assert not stage.connection.overdue(stage.connection._since + 1e6, 1, 10)
    stage.ready.set()


async def test_an_answer_that_nobody_waits_for_may_be_untaken_as_long_as_a_connection_idle(stage: Stage) -> None:
    stage.work = much
    reader, connection = await congested(stage)
    begun = connection._since

    assert not connection.overdue(begun + 9, 1, 10)
    await reader.readexactly(2_000_000)
    assert not connection.overdue(begun + 12, 1, 10)
    assert not connection.overdue(begun + 21, 1, 10)
    assert connection.overdue(begun + 23, 1, 10)


async def test_an_answer_that_its_handler_waits_for_is_the_handlers_to_end(stage: Stage) -> None:
    async def waiting(handler: Handler) -> None:
        await much(handler)
        with contextlib.suppress(StreamClosedError):
            await handler.peer.drain(60)

    stage.work = waiting
    _, connection = await congested(stage)

    assert not connection.overdue(connection._since + 1e6, 1, 10)
    assert not connection.overdue(connection._since + 2e6, 1, 10)


async def test_a_connection_is_idle_from_when_its_answer_was_taken(stage: Stage) -> None:
    stage.work = much
    reader, connection = await congested(stage)
    finished = connection._since
    assert len(await answer(reader)) == 5_000_000

    assert not connection.busy
    assert connection._since > finished


@pytest.mark.parametrize("stage", ["tls"], indirect=True)
async def test_the_end_of_a_long_request_has_its_own_time(stage: Stage) -> None:
    async def long(handler: Handler) -> None:
        handler.peer._since -= 1000
        handler.peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        handler.peer.finish(keep_alive=False)

    stage.work = long
    _, writer = await stage.connect()
    writer.write(GET)
    await stage.until(lambda: stage.connection and stage.connection._ending)

    assert stage.connection
    assert not stage.connection.overdue(time.monotonic(), 1, 10)
