"""Answers on their way to clients that read slowly, not at all, or leave."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from downstream.conftest import Handler, Stage
from tornado.iostream import StreamClosedError

from tornado_gateway.downstream import ClientConnection
from tornado_gateway.downstream.sending import Sending
from tornado_gateway.handlers.peer import ReaderStalled

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
MUCH = b"x" * 5_000_000
SOON = 5
both = pytest.mark.parametrize("stage", ["plain", "tls"], indirect=True)


Work = Callable[[ClientConnection], Awaitable[None]]
Ending = asyncio.Future[BaseException | None]


async def ended_by(stage: Stage, work: Work) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Ending]:
    """A client of a handler that does `work`, and how that ends."""
    ending: Ending = asyncio.get_running_loop().create_future()

    async def run(handler: Handler) -> None:
        try:
            await work(handler.peer)
        except (ReaderStalled, StreamClosedError) as error:
            ending.set_result(error)
        else:
            ending.set_result(None)

    stage.work = run
    reader, writer = await stage.connect()
    writer.write(GET)
    return reader, writer, ending


@both
async def test_a_reader_that_takes_nothing_has_stalled(stage: Stage) -> None:
    async def work(peer: ClientConnection) -> None:
        peer.write(MUCH)
        await peer.drain(0.2)

    _, _, ending = await ended_by(stage, work)

    assert isinstance(await asyncio.wait_for(ending, SOON), ReaderStalled)


async def test_a_reader_behind_anything_but_tcp_is_judged_by_what_waits() -> None:
    ours, theirs = socket.socketpair()
    sending = Sending()
    await asyncio.get_running_loop().connect_accepted_socket(lambda: sending, ours)
    sending.write(MUCH)

    with theirs, pytest.raises(ReaderStalled):
        await sending.drain(0.1)

    sending.abort()
    await sending.linger(generous=False)


@both
async def test_a_reader_that_reads_gets_all_and_what_waits_is_told(stage: Stage) -> None:
    async def work(peer: ClientConnection) -> None:
        peer.write(MUCH)
        assert peer.congested
        await peer.drain(SOON)
        assert not peer.congested
        peer.finish(keep_alive=False)

    reader, _, ending = await ended_by(stage, work)

    assert await asyncio.wait_for(reader.read(), SOON) == MUCH
    assert await ending is None


async def read_steadily(reader: asyncio.StreamReader, count: int) -> None:
    """About 4 MB/s, or less."""
    for _ in range(count // 40_000):
        await reader.readexactly(40_000)
        await asyncio.sleep(0.01)


@both
async def test_whose_time_is_over_does_not_end_the_wait_of_another(stage: Stage) -> None:
    async def work(peer: ClientConnection) -> None:
        peer.write(MUCH)
        await asyncio.gather(peer.drain(0.1), peer.drain(SOON))

    reader, _, ending = await ended_by(stage, work)
    await read_steadily(reader, 1_600_000)
    await reader.readexactly(len(MUCH) - 1_600_000)

    assert await asyncio.wait_for(ending, SOON) is None


@both
async def test_what_others_write_meanwhile_does_not_make_a_reader_stall(stage: Stage) -> None:
    more = asyncio.Event()

    async def work(peer: ClientConnection) -> None:
        async def another() -> None:
            await more.wait()
            peer.write(MUCH)

        peer.write(MUCH)
        await asyncio.gather(peer.drain(0.3), another())

    reader, _, ending = await ended_by(stage, work)
    await read_steadily(reader, 200_000)
    more.set()
    await read_steadily(reader, 1_600_000)
    await reader.readexactly(2 * len(MUCH) - 1_800_000)

    assert await asyncio.wait_for(ending, SOON) is None


@both
async def test_a_reader_that_is_slow_for_the_buffer_of_the_kernel_has_not_stalled(stage: Stage) -> None:
    """The kernel keeps megabytes, and takes more only when a good part of them is gone."""
    stage.send_buffer = None

    async def work(peer: ClientConnection) -> None:
        peer.write(MUCH * 3)
        await peer.drain(0.2)

    reader, _, ending = await ended_by(stage, work)
    await stage.until(lambda: stage.connection and stage.connection.congested)
    for _ in range(20):
        await reader.readexactly(30_000)
        await asyncio.sleep(0.025)
    await reader.readexactly(3 * len(MUCH) - 600_000)

    assert await asyncio.wait_for(ending, SOON) is None


@both
async def test_an_end_comes_behind_all_that_was_written(stage: Stage) -> None:
    async def work(peer: ClientConnection) -> None:
        peer.write(MUCH)
        peer.finish(keep_alive=False)
        await peer.drain(SOON)

    reader, _, ending = await ended_by(stage, work)

    assert await asyncio.wait_for(reader.read(), SOON) == MUCH
    assert await ending is None
    await asyncio.wait_for(stage.lost.wait(), SOON)


@both
@pytest.mark.parametrize("finished", [True, False])
async def test_who_leaves_before_all_is_taken_has_left(stage: Stage, finished: bool) -> None:
    async def work(peer: ClientConnection) -> None:
        peer.write(MUCH)
        if finished:
            peer.finish(keep_alive=False)
        await peer.drain(SOON)

    _, writer, ending = await ended_by(stage, work)
    await stage.until(lambda: stage.connection and stage.connection.congested)
    writer.transport.abort()

    assert isinstance(await asyncio.wait_for(ending, SOON), StreamClosedError)


@both
async def test_tokens_that_the_kernel_takes_are_no_congestion(stage: Stage) -> None:
    async def work(peer: ClientConnection) -> None:
        for _ in range(9):
            peer.write(b"x")
            assert not peer.congested
            await asyncio.sleep(0)
        peer.finish(keep_alive=False)

    reader, _, ending = await ended_by(stage, work)

    assert await asyncio.wait_for(reader.read(), SOON) == b"x" * 9
    assert await ending is None


@pytest.mark.parametrize("stage", ["tls"], indirect=True)
async def test_an_end_waits_for_a_slow_reader_and_drops_what_comes_meanwhile(stage: Stage) -> None:
    """TLS has a time limit for its own end, which must not begin before the answer is on its way."""

    async def work(peer: ClientConnection) -> None:
        peer.write(MUCH)
        peer.finish(keep_alive=False)

    reader, writer, _ = await ended_by(stage, work)
    await stage.until(lambda: stage.connection and stage.connection._ending)
    connection = stage.connection
    assert connection
    writer.write(GET * 1000)
    await reader.readexactly(1_000_000)

    assert connection.congested
    assert not connection._unread
    assert connection._transport
    assert not connection._transport.is_closing()
    assert await asyncio.wait_for(reader.read(), SOON) == MUCH[1_000_000:]
    assert len(stage.handlers) == 1


@both
async def test_flush_waits_no_longer_than_it_is_told(stage: Stage) -> None:
    async def work(peer: ClientConnection) -> None:
        peer.write(MUCH)
        await peer.flush(0.05)
        assert peer.congested
        assert not peer.awaited

    _, _, ending = await ended_by(stage, work)

    assert await asyncio.wait_for(ending, SOON) is None


async def test_what_is_said_last_can_be_read_while_more_is_sent(stage: Stage) -> None:
    async def work(peer: ClientConnection) -> None:
        peer.write(b"HTTP/1.1 413 No\r\n\r\n")
        await peer.shut_sending()
        await peer.linger(generous=True)

    reader, writer, ending = await ended_by(stage, work)
    writer.write(MUCH)

    assert await asyncio.wait_for(reader.read(), SOON) == b"HTTP/1.1 413 No\r\n\r\n"
    await writer.drain()
    writer.close()
    assert await asyncio.wait_for(ending, SOON) is None


@both
async def test_a_stranger_who_goes_on_sending_is_cut_off(stage: Stage) -> None:
    async def work(peer: ClientConnection) -> None:
        await peer.linger(generous=False)

    _, writer, ending = await ended_by(stage, work)
    writer.write(MUCH)

    await asyncio.wait_for(stage.lost.wait(), SOON)
    assert await asyncio.wait_for(ending, SOON) is None


@both
async def test_nothing_is_written_to_who_has_left(stage: Stage) -> None:
    async def work(peer: ClientConnection) -> None:
        await stage.left.wait()
        assert peer.closed
        peer.write(b"late")
        await peer.drain(SOON)

    _, writer, ending = await ended_by(stage, work)
    await stage.until(lambda: stage.handlers)
    writer.close()

    assert isinstance(await asyncio.wait_for(ending, SOON), StreamClosedError)
