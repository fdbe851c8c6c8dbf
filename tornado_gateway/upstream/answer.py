"""One answer from Ollama as batches of records: all that arrived since the last turn, together.

A stream may only be believed when it is whole: the record with `done: true` is held back until the HTTP message has ended as
it should, so whoever reads it has everything. Records behind it are ignored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse

from tornado_gateway.errors import GatewayError, UpstreamClosed, UpstreamInvalidResponse
from tornado_gateway.wire.ollama import NativeCall, Record, RecordReader
from tornado_gateway.wire.ollama_errors import error_of, record_error

MAX_WAITING_BYTES = 64 * 1024
"""Bytes that nobody has taken yet: beyond this, reading stops until they are taken. One read may add 256 KB to them."""

MAX_BATCH_BYTES = 64 * 1024
"""What is decoded at once: records take four times the room of their lines, and a slow reader holds a batch for long."""

MAX_EMBEDDING_BYTES = 64 * 1024 * 1024
"""An answer to an embedding call is one JSON object, and 64 texts of a large model make more than a line may hold."""

_MAX_IGNORED_BYTES = 64 * 1024


class Abortable(Protocol):
    def abort(self) -> None:
        """Stop at once; nothing, once it is over."""
        ...


Start = Callable[[HTTPRequest, Callable[[HTTPResponse], None]], Abortable]
"""Sends a request and calls back with its response."""


class Outlet(Protocol):
    """The short way for records: taken in the very call in which their bytes arrive, with no task woken in between.

    Only records whose reader waits for them go this way, so their order stays; the end of an answer never does.
    """

    def take(self, records: Sequence[Record]) -> bool:
        """Take records, at least one. Whether more may come; if not, `drain` is called first. What it raises ends the answer."""
        ...

    async def drain(self) -> None:
        """Wait until more may come. Raises what ends the answer."""
        ...


async def answer(start: Start, request: HTTPRequest, inbox: Inbox) -> AsyncGenerator[Sequence[Record], None]:
    """Send `request` and yield its records, but for those that take the short way.

    Leaving this generator in any way ends the transfer at once. Raises what went wrong, behind the records that came before it.
    """
    request.streaming_callback = inbox.receive
    transfer = start(request, inbox.end)
    try:
        while True:
            records = inbox.take() if inbox.waiting else []
            if inbox.failed or (not inbox.waiting and inbox.response is not None):
                break
            if records:
                yield records
            elif not inbox.waiting:
                await inbox.arrival()
                if inbox.behind is not None:
                    await inbox.behind.drain()
                    inbox.catch_up()
        if not inbox.failed and inbox.broken is None:
            records += inbox.rest()
        failure = _failure(inbox)
        if failure is None and inbox.last is not None:
            records.append(inbox.last)
        if records:
            yield records
        if failure is not None:
            raise failure
    finally:
        transfer.abort()
        # Request, inbox and response hold each other: let go here, they are freed at once, and not by the collector.
        request.streaming_callback = None


class Inbox:
    """Where the bytes of one answer wait for their reader, who gets them as records, unless `outlet` takes them."""

    __slots__ = (
        "_first_byte",
        "_ignored",
        "_loop",
        "_outlet",
        "_reader",
        "_room",
        "_waiter",
        "_whole",
        "behind",
        "endpoint",
        "failed",
        "fault",
        "last",
        "response",
        "waiting",
    )

    def __init__(self, call: NativeCall, max_line_bytes: int, on_first_byte: Callable[[], None], outlet: Outlet | None) -> None:
        self.endpoint = call.endpoint
        embed = call.endpoint == "/api/embed"
        self._whole = embed or not call.stream
        limit = max(MAX_EMBEDDING_BYTES, max_line_bytes) if embed else max_line_bytes
        self._reader = RecordReader(whole=self._whole, max_line_bytes=limit)
        self._first_byte: Callable[[], None] | None = on_first_byte
        self._outlet = outlet
        self._loop = asyncio.get_running_loop()
        self._ignored = 0
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self.last: Record | None = None
        """The record that ends the answer: `done`, an error, or the one with the embeddings."""
        self.fault: UpstreamInvalidResponse | None = None
        self.waiting = b""
        """Bytes that have come and nobody has taken. A plain attribute, as `failed` is: both are looked at several times a token."""
        self.failed = False
        """Whether the answer has ended badly, whatever else may come."""
        self.behind: Outlet | None = None
        """The outlet, when it wants to be waited for."""
        self.response: HTTPResponse | None = None
        """Set when the transfer is over."""

    @property
    def broken(self) -> BaseException | None:
        """Why there is no whole response; a status that tells of an error is a whole one."""
        error = self.response.error if self.response is not None else None
        return None if isinstance(error, HTTPClientError) else error

    def end(self, response: HTTPResponse) -> None:
        """Nothing more comes."""
        self.response = response
        self.wake()

    def receive(self, data: bytes) -> asyncio.Future[None] | None:
        """Take bytes as they come; what is returned is done when more may come."""
        if self._first_byte is not None:
            first_byte, self._first_byte = self._first_byte, None
            first_byte()
        if self._whole:
            self._reader.feed(data)
            return None
        outlet, waiter = self._outlet, self._waiter
        # The short way, for who has all that came before and waits.
        if (
            outlet is not None
            and waiter is not None
            and not (waiter.done() or self.waiting or self.last or len(data) > MAX_BATCH_BYTES)
        ):
            try:  # as `_read` does, without the call
                records = self._reader.feed(data)
                if len(records) != 1 or records[0].done or records[0].error is not None or records[0].embeddings is not None:
                    records = self._but_the_last(records)
            except UpstreamInvalidResponse as fault:
                records = self._before(fault, self._reader.salvaged)
            if records and not outlet.take(records):
                self.behind = outlet
                self._room = self._loop.create_future()
            if self.behind is not None or self.failed:
                self.wake()
            return self._room
        self.waiting = self.waiting + data if self.waiting else data
        self.wake()
        if len(self.waiting) <= MAX_WAITING_BYTES:
            return None
        self._room = self._loop.create_future()
        return self._room

    def arrival(self) -> asyncio.Future[None]:
        """Is done when there is something to take, or the transfer is over."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def catch_up(self) -> None:
        """The outlet can take more."""
        self.behind = None
        if self._room is not None:
            self._room.set_result(None)
            self._room = None

    def take(self) -> list[Record]:
        """The records of what has come, a batch at most, but for the last one of the answer."""
        data, self.waiting = self.waiting[:MAX_BATCH_BYTES], self.waiting[MAX_BATCH_BYTES:]
        if self._room is not None and len(self.waiting) <= MAX_WAITING_BYTES:
            self._room.set_result(None)
            self._room = None
        if self.last is not None:
            self._ignore(data)
            return []
        return self._read(data)

    def _read(self, data: bytes) -> list[Record]:
        try:
            return self._but_the_last(self._reader.feed(data))
        except UpstreamInvalidResponse as fault:
            return self._before(fault, self._reader.salvaged)

    def rest(self) -> list[Record]:
        """The body has ended: what stands in it without a line end, but for the last record."""
        if self.last is not None:
            return []
        try:
            return self._but_the_last(self._reader.finish())
        except UpstreamInvalidResponse as fault:
            return self._before(fault, [])

    def _but_the_last(self, records: list[Record]) -> list[Record]:
        for position, record in enumerate(records):
            if record.done or record.error is not None or record.embeddings is not None:
                self.last = record
                self.failed = record.error is not None
                return records[:position]
        return records

    def _before(self, fault: UpstreamInvalidResponse, salvaged: list[Record]) -> list[Record]:
        records = self._but_the_last(salvaged)
        if self.last is None:
            self._fail(fault)
        return records

    def _ignore(self, data: bytes) -> None:
        self._ignored += len(data)
        if self._ignored > _MAX_IGNORED_BYTES:
            self._fail(UpstreamInvalidResponse("Ollama went on sending after the end of its answer."))

    def _fail(self, fault: UpstreamInvalidResponse) -> None:
        self.fault, self.failed = fault, True


def _failure(inbox: Inbox) -> GatewayError | None:
    """What keeps the answer from being whole, if anything does: what Ollama says, before what became of the connection."""
    if inbox.last is not None and inbox.last.error is not None:
        return record_error(inbox.last.error, endpoint=inbox.endpoint)
    error = inbox.fault if inbox.failed else inbox.broken
    if error is not None and not isinstance(error, GatewayError):
        raise error
    response = inbox.response
    if error is None and response is not None and response.code != 200:
        error = error_of(response.code, response.body, endpoint=inbox.endpoint)
    if error is None and inbox.last is None:
        error = UpstreamClosed("Ollama ended its answer before it was whole.")
    return error
