"""What goes to the client of a stream, and when."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from tornado_gateway.delivery import Delivery, Gathering, ShortWay
from tornado_gateway.errors import GatewayError, InvalidRequest
from tornado_gateway.wire.fold import Folder
from tornado_gateway.wire.ollama import Message, Record
from tornado_gateway.wire.sse import HEARTBEAT


class Client:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.started = False
        self.congested = False
        self.sent: list[bytes] = []
        self.drained = 0
        self.beaten = asyncio.Event()

    def start(self, content_type: str, fail: Callable[[GatewayError], bytes]) -> None:
        self.started = True
        self.sent.append(content_type.encode())

    def write(self, data: bytes) -> bool:
        self.sent.append(data)
        if self.sent.count(HEARTBEAT) == 2:
            self.beaten.set()
        return not self.congested

    async def drain(self) -> None:
        self.drained += 1

    def end(self, data: bytes) -> None:
        self.sent.append(data)

    def whole(self, content_type: str, body: bytes) -> None:
        raise AssertionError("a stream")


class Words:
    """An encoder that lets texts through."""

    content_type = "words"

    def feed(self, index: int, records: Sequence[Record]) -> bytes:
        return "".join(record.message.content for record in records if record.message).encode()

    def finish(self) -> bytes:
        return b"."

    def fail(self, error: GatewayError) -> bytes:
        return b"!"


def said(text: str) -> Record:
    return Record(message=Message(role="assistant", content=text))


def delivery(client: Client, *, first: float = 60, every: float = 60) -> Delivery:
    return Delivery(client, Words(), asyncio.get_running_loop().time() + first, every)


async def test_the_head_goes_out_before_the_first_words_and_once() -> None:
    client = Client()
    way = delivery(client)

    with way:
        assert way.send(0, [said("a"), said("b")])
        assert way.send(0, [said("")])
        assert way.send(0, [said("c")])

    assert client.sent == [b"words", b"ab", b"c"]


async def test_who_is_behind_is_told_of() -> None:
    client = Client()
    way = delivery(client)
    client.congested = True

    with way:
        assert not way.send(0, [said("a")])


async def test_a_heartbeat_comes_when_nothing_else_does_and_brings_the_head() -> None:
    client = Client()

    with delivery(client, first=0.01, every=0.01):
        await asyncio.wait_for(client.beaten.wait(), 5)

    assert client.sent[0] == b"words"
    assert set(client.sent[1:]) == {HEARTBEAT}


async def test_who_is_behind_is_looked_at_as_seldom_as_others() -> None:
    looks: list[float] = []
    third = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Behind(Client):
        @property
        def congested(self) -> bool:
            looks.append(loop.time())
            if len(looks) == 3:
                third.set()
            return True

        @congested.setter
        def congested(self, _: bool) -> None: ...

    client = Behind()
    with delivery(client, first=0.0, every=0.05):
        await asyncio.wait_for(third.wait(), 5)

    assert looks[2] - looks[0] > 0.09
    assert HEARTBEAT not in client.sent


async def test_who_was_behind_and_is_sent_nothing_is_still_behind() -> None:
    client = Client()
    way = delivery(client)
    client.congested = True

    with way:
        assert not way.send(0, [said("")])


async def test_an_answer_that_is_not_streamed_goes_to_its_encoder_and_nobody_is_waited_for() -> None:
    fed: list[tuple[int, Sequence[Record]]] = []

    class Whole(Words):
        def feed(self, index: int, records: Sequence[Record]) -> bytes:
            fed.append((index, records))
            return b""

    gathering = Gathering(Whole())

    assert gathering.send(1, [said("a")])
    await gathering.drain()

    assert fed == [(1, [said("a")])]


async def test_the_short_way_counts_changes_and_waits_as_the_long_one_does() -> None:
    client = Client()
    way = delivery(client)
    short = ShortWay(way, 0, [])
    short.folder = Folder()

    with way:
        assert short.take([said("a")])
        short.folder.add([Record(done=True)])
        await short.drain()

    assert client.sent == [b"words", b"a"]
    assert short.taken == 1
    assert (whole := short.folder.whole())
    assert whole.response == "a"
    assert client.drained == 1


async def test_a_refusal_of_a_plugin_on_the_short_way_is_a_refusal() -> None:
    def refuse(_: Record) -> Record:
        raise InvalidRequest("No.")

    client = Client()
    way = delivery(client)
    short = ShortWay(way, 0, [refuse])  # type: ignore[list-item]  # as a function of a plugin

    with way, pytest.raises(InvalidRequest):
        short.take([said("a")])
