"""Identical calls that are at work at once, run once: one generation, read by several, each at its own pace.

The generation runs in a task of its own, so that it outlives the caller who began it; it stops with its last reader. A reader
gets the records from the beginning, then live. What the slowest reader has not taken is kept, up to a bound; at the bound the
generation waits for that reader, and nobody new can join once the beginning is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any

from tornado_gateway.hookspecs import Forward, Overloaded, Record

_RECORD_BYTES = 256
"""What a record costs in memory besides its texts."""


class Flights:
    """The generations that can be joined, by key."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._joinable: dict[bytes, Flight] = {}
        self._running: set[Flight] = set()

    def __len__(self) -> int:
        """How many generations run, those that nobody can join any more included."""
        return len(self._running)

    def begin(self, key: bytes, forward: Forward, *, keep: bool) -> Reader:
        """Start a generation that others may join. One that runs under the same key is joined no more."""
        flight = self._joinable[key] = Flight(key, self)
        self._running.add(flight)
        flight.task = asyncio.get_running_loop().create_task(flight.run(forward), name="tornado-gateway-cache-flight")
        return Reader(flight, keep=keep)

    def join(self, key: bytes, *, keep: bool) -> Reader | None:
        """One more reader of a generation that runs under this key. `keep`: its answer may be stored for this caller's sake."""
        flight = self._joinable.get(key)
        return None if flight is None else Reader(flight, keep=keep)

    def close(self, flight: Flight) -> None:
        """Let nobody join any more."""
        if self._joinable.get(flight.key) is flight:
            del self._joinable[flight.key]

    def forget(self, flight: Flight) -> None:
        """The generation has ended, and what it held is given back."""
        self._running.discard(flight)

    async def stop(self) -> None:
        """Stop every generation, and wait until each has stopped."""
        await asyncio.gather(*[flight.stop() for flight in self._running])


class Flight:
    """One generation and what its readers have still to take."""

    __slots__ = (
        "_first",
        "_flights",
        "_records",
        "_room",
        "_weight",
        "came",
        "ended",
        "failure",
        "keep",
        "key",
        "readers",
        "task",
    )

    def __init__(self, key: bytes, flights: Flights) -> None:
        self.key = key
        self.task: asyncio.Task[None] | None = None
        self.readers: set[Reader] = set()
        self.keep = False
        """Whether one of its callers, past or present, wants the answer stored."""
        self.came = 0
        """How many records there have been."""
        self.ended = False
        self.failure: BaseException | None = None
        self._flights = flights
        self._records: list[Record] = []
        self._first = 0
        """How many records have been let go at the front."""
        self._weight = 0
        self._room: asyncio.Future[None] | None = None

    async def run(self, forward: Forward) -> None:
        """Ask Ollama, and hand on what comes."""
        failure: BaseException | None = None
        try:
            records = forward()
            try:
                async for batch in records:
                    self._add(batch)
                    while self._weight > self._flights.max_bytes and self.readers:
                        await self._next_room()
            finally:
                await records.aclose()
        except Exception as error:  # noqa: BLE001  # it is the readers' to hear of
            failure = error
        except BaseException:
            failure = _stopped()
            raise
        finally:
            self._end(failure)
            self._flights.forget(self)

    async def stop(self) -> None:
        """End it; Ollama has been stopped when this returns."""
        self._end(_stopped())  # said here: a task that is cancelled before its first step never comes to say it
        if self.task is not None:
            self.task.add_done_callback(lambda _: self._flights.forget(self))
            self.task.cancel()
            await asyncio.wait([self.task])

    def take(self, position: int) -> Sequence[Record]:
        """Every record from `position` on."""
        return self._records[position - self._first :]

    def taken(self) -> None:
        """A reader has moved on or left: there may be room."""
        if self._weight > self._flights.max_bytes:
            self._let_go()
        if self._room is not None and not self._room.done() and self._weight <= self._flights.max_bytes:
            self._room.set_result(None)

    async def leave(self, reader: Reader) -> None:
        """The last one to leave stops the generation, and has stopped it when this returns."""
        self.readers.discard(reader)
        if self.readers or self.ended:
            self.taken()
        else:
            await self.stop()

    def _add(self, batch: Sequence[Record]) -> None:
        self._records += batch
        self.came += len(batch)
        if batch and (batch[-1].done or batch[-1].embeddings is not None):
            self._flights.close(self)  # what has ended is not joined: from here on the cache has it, or nobody
        else:
            self._weight += sum(map(_weight, batch))
            if self._weight > self._flights.max_bytes:
                self._let_go()
        self._wake()

    def _end(self, failure: BaseException | None) -> None:
        if not self.ended:
            self.ended, self.failure = True, failure
            self._flights.close(self)
            self._wake()

    def _next_room(self) -> asyncio.Future[None]:
        """Is done when there may be room again."""
        self._room = asyncio.get_running_loop().create_future()
        return self._room

    def _let_go(self) -> None:
        """Drop what every reader has taken; the beginning is gone then, so nobody can join any more."""
        self._flights.close(self)
        slowest = min((reader.position for reader in self.readers), default=self._first)
        gone = self._records[: slowest - self._first]
        if gone:
            del self._records[: len(gone)]
            self._first = slowest
            self._weight -= sum(map(_weight, gone))

    def _wake(self) -> None:
        for reader in self.readers:
            reader.wake()


class Reader(AsyncGenerator[Sequence[Record], None]):
    """One caller's way through a generation.

    An asynchronous generator to those who iterate it, but one that can be closed, and leaves, before its first step too.
    """

    __slots__ = ("_flight", "_news", "position")

    def __init__(self, flight: Flight, *, keep: bool) -> None:
        self.position = 0
        self._flight = flight
        self._news: asyncio.Future[None] | None = None
        flight.readers.add(self)
        flight.keep |= keep

    @property
    def keep(self) -> bool:
        """Whether anyone who reads the same wants the answer stored."""
        return self._flight.keep

    async def asend(self, value: None = None) -> Sequence[Record]:
        """Everything that has come since the last time; waits until there is something."""
        flight = self._flight
        while self in flight.readers:
            if flight.came > self.position:
                batch = flight.take(self.position)
                self.position = flight.came
                flight.taken()
                return batch
            if flight.ended:
                flight.readers.discard(self)
                if flight.failure is not None:
                    raise flight.failure
                break
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        raise StopAsyncIteration

    def __anext__(self) -> Coroutine[Any, Any, Sequence[Record]]:
        return self.asend()  # the base class would put a coroutine of its own around it

    async def athrow(self, kind: Any, value: Any = None, traceback: Any = None) -> Sequence[Record]:
        await self.aclose()
        raise (kind() if isinstance(kind, type) else kind) if value is None else value

    async def aclose(self) -> None:
        """Leave. When it was the last reader, the generation has stopped when this returns."""
        if self in self._flight.readers:
            await self._flight.leave(self)

    def wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


def _stopped() -> Overloaded:
    return Overloaded("The generation was stopped.", retry_after=1)


def _weight(record: Record) -> int:
    """About how many bytes a record takes up."""
    message = record.message
    size = _RECORD_BYTES + len(record.response) + len(record.thinking)
    if message is not None:
        size += len(message.content) + len(message.thinking)
    if record.logprobs:
        size += _RECORD_BYTES * sum(1 + len(logprob.top_logprobs or ()) for logprob in record.logprobs)
    if record.embeddings is not None:
        size += sum(map(len, record.embeddings))
    return size
