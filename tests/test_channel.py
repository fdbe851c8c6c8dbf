import asyncio
import socket
import struct
from typing import Any

import pytest

from tornado_gateway import channel
from tornado_gateway.channel import Channel


class End:
    """One end of a channel, with what came and whether it is lost."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.channel = Channel(self.got.put_nowait, self.lost.set)

    async def on(self, line: socket.socket) -> None:
        await asyncio.get_running_loop().create_unix_connection(lambda: self.channel, sock=line)


async def pair() -> tuple[End, End]:
    ends, lines = (End(), End()), socket.socketpair()
    for end, line in zip(ends, lines, strict=True):
        await end.on(line)
    return ends


async def test_messages_come_whole_and_in_order() -> None:
    one, other = await pair()
    messages: list[list[Any]] = [["a", 1, None], ["b", "x" * 300_000], ["c", b"\x00", {"k": [1.5]}]]

    for message in messages:
        assert one.channel.send(message)

    assert [await other.got.get() for _ in messages] == messages
    one.channel.close()
    await other.lost.wait()


async def test_however_the_bytes_are_cut_the_same_messages_come() -> None:
    end, (ours, theirs) = End(), socket.socketpair()
    await end.on(ours)
    frame = struct.pack("!I", 4) + b"\x93\x01\x02\x03"
    theirs.setblocking(False)

    for byte in frame * 3:
        await asyncio.get_running_loop().sock_sendall(theirs, bytes([byte]))

    assert [await end.got.get() for _ in range(3)] == [[1, 2, 3]] * 3
    theirs.close()
    await end.lost.wait()


async def test_a_message_that_is_too_large_is_refused_by_the_sender_and_ends_the_channel_for_the_receiver() -> None:
    one, other = await pair()
    assert not one.channel.send(["x" * (channel.MAX_FRAME_BYTES + 1)])
    end, (ours, theirs) = End(), socket.socketpair()
    await end.on(ours)

    theirs.sendall(struct.pack("!I", channel.MAX_FRAME_BYTES + 1))

    await asyncio.wait_for(end.lost.wait(), 5)
    theirs.close()
    one.channel.close()
    await other.lost.wait()


async def test_what_waits_for_a_peer_that_does_not_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "MAX_UNSENT_BYTES", 1_000_000)
    end, (ours, theirs) = End(), socket.socketpair()
    await end.on(ours)

    sent = 0
    while end.channel.send(["x" * 100_000]):
        sent += 1
        assert sent < 1000

    theirs.close()
    await end.lost.wait()
    assert not end.channel.send(["late"])
