"""Records on their way to the client of a streamed answer: encoded, written, with heartbeats where nothing else comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

from tornado_gateway.errors import GatewayError
from tornado_gateway.transforms import Change, transformed
from tornado_gateway.wire.dialect import Encoder
from tornado_gateway.wire.fold import Folder
from tornado_gateway.wire.ollama import Record
from tornado_gateway.wire.sse import HEARTBEAT


class Sink(Protocol):
    """Where an answer goes."""

    started: bool

    @property
    def congested(self) -> bool:
        """Whether the reader is behind."""
        ...

    def start(self, content_type: str, fail: Callable[[GatewayError], bytes]) -> None:
        """Send the head of a streamed answer; `fail` gives the words with which it would break off."""
        ...

    def write(self, data: bytes) -> bool:
        """Send a part of a streamed answer; never waits. Whether the reader keeps up."""
        ...

    async def drain(self) -> None:
        """Wait until the reader has caught up. Raises when it takes nothing for too long."""
        ...

    def end(self, data: bytes) -> None:
        """Send the last part of a streamed answer, and its regular end."""
        ...

    def whole(self, content_type: str, body: bytes) -> None:
        """Send an answer that is not streamed."""
        ...


class Receiver(Protocol):
    """Where the records of an answer go."""

    def send(self, index: int, batch: Sequence[Record]) -> bool:
        """Take records of the request's native call number `index`. Whether more may come; if not, `drain` is called first."""
        ...

    async def drain(self) -> None:
        """Wait until more may come. Raises what ends the answer."""
        ...


class Gathering:
    """An answer that is not streamed: the encoder keeps what it is fed."""

    __slots__ = ("_encoder",)

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def send(self, index: int, batch: Sequence[Record]) -> bool:
        self._encoder.feed(index, batch)
        return True

    async def drain(self) -> None:
        """Nobody is behind."""


class Delivery:
    """A streamed answer on its way to its client: the head first, then records; comments while nothing else comes.

    Use it as a context manager. One timer for a stream, not one for a token: it looks when bytes went out last and sleeps for the rest.
    `head_at` is when the head goes out at the latest, on the monotonic clock; `every` the seconds between two comments.
    """

    __slots__ = ("_encoder", "_every", "_last", "_loop", "_sink", "_timer")

    def __init__(self, sink: Sink, encoder: Encoder, head_at: float, every: float) -> None:
        self._sink = sink
        self._encoder = encoder
        self._every = every
        self._loop = asyncio.get_running_loop()
        self._last = monotonic()
        self._timer = self._loop.call_later(max(0.0, head_at - monotonic()), self._due)

    def __enter__(self) -> Delivery:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def send(self, index: int, batch: Sequence[Record]) -> bool:
        """Send a batch of records; whether the client keeps up."""
        data = self._encoder.feed(index, batch)
        sink = self._sink
        if not sink.started:
            self._start()
        if not data:
            return not sink.congested
        self._last = monotonic()
        return sink.write(data)

    async def drain(self) -> None:
        """Wait until the client has caught up. Raises when it takes nothing for too long."""
        await self._sink.drain()

    def _start(self) -> None:
        self._sink.start(self._encoder.content_type, self._encoder.fail)

    def _due(self) -> None:
        if not self._sink.started:
            self._start()
        silent = monotonic() - self._last
        if silent >= self._every:
            self._last += silent
            silent = 0.0
            if not self._sink.congested:  # who is behind has something to read
                self._sink.write(HEARTBEAT)
        self._timer = self._loop.call_later(max(0.001, self._every - silent), self._due)


class ShortWay:
    """From Ollama's connection to the client's in one call: what `upstream.Outlet` asks for.

    Waking the request's task for each token costs about as much as all that is done with the token.
    """

    __slots__ = ("_changes", "_index", "_receiver", "folder", "taken")

    def __init__(self, receiver: Receiver, index: int, changes: Sequence[Change]) -> None:
        self._receiver = receiver
        self._index = index
        self._changes = changes or None
        self.taken = 0
        """How many records."""
        self.folder: Folder | None = None
        """Collects what is taken, where somebody wants the whole answer."""

    def take(self, records: Sequence[Record]) -> bool:
        self.taken += len(records)
        if self.folder is not None:
            self.folder.add(records)
        if self._changes is not None:
            records = changed(records, self._changes)
        return self._receiver.send(self._index, records)

    async def drain(self) -> None:
        await self._receiver.drain()


def changed(batch: Sequence[Record], changes: Sequence[Change]) -> Sequence[Record]:
    """A batch after the functions of the plugins, in order."""
    return [transformed(record, changes) for record in batch] if changes else batch
