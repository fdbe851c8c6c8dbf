"""One answer from Ollama as batches of records: all that arrived since the last turn, together.

A stream may only be believed when it is whole: the record with `done: true` is held back until the HTTP message has ended as
it should, so whoever reads it has everything. Records behind it are ignored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from tornado.httpclient import HTTPRequest, HTTPResponse

from tornado_gateway.errors import GatewayError, UpstreamClosed, UpstreamInvalidResponse
from tornado_gateway.wire.ollama import NativeCall, Record, RecordReader
from tornado_gateway.wire.ollama_errors import error_of, record_error

MAX_WAITING_BYTES = 256 * 1024
"""Bytes whose records nobody has taken yet: beyond this, reading stops until they are taken."""

MAX_EMBEDDING_BYTES = 64 * 1024 * 1024
"""An answer to an embedding call is one JSON object, and 64 texts of a large model make more than a line may hold."""

_MAX_IGNORED_BYTES = 64 * 1024

Fetch = Callable[[HTTPRequest], asyncio.Future[HTTPResponse]]


async def answer(
    fetch: Fetch, request: HTTPRequest, call: NativeCall, *, max_line_bytes: int, on_first_byte: Callable[[], None]
) -> AsyncGenerator[Sequence[Record], None]:
    """Send `request` and yield its records. Leaving this generator in any way ends the transfer at once.

    Raises what went wrong, behind the records that came before it.
    """
    inbox = Inbox(call, max_line_bytes, on_first_byte)
    request.streaming_callback = inbox.receive
    response = fetch(request)
    response.add_done_callback(inbox.wake)
    try:
        while not response.done():
            if inbox.empty:
                await inbox.arrival()
                continue
            records = inbox.take()
            if records:
                yield records
            elif inbox.failed:
                break
        failure = _failure(response, inbox, call)
        records = inbox.take() if failure is not None else inbox.take_all()
        if records:
            yield records
        if failure is not None:
            raise failure
    finally:
        response.cancel()


class Inbox:
    """Where the records of one answer wait for their reader."""

    __slots__ = ("_bytes", "_first_byte", "_ignored", "_loop", "_reader", "_records", "_room", "_waiter", "_whole", "last")

    def __init__(self, call: NativeCall, max_line_bytes: int, on_first_byte: Callable[[], None]) -> None:
        embed = call.endpoint == "/api/embed"
        self._whole = embed or not call.stream
        limit = max(MAX_EMBEDDING_BYTES, max_line_bytes) if embed else max_line_bytes
        self._reader = RecordReader(whole=self._whole, max_line_bytes=limit)
        self._first_byte: Callable[[], None] | None = on_first_byte
        self._loop = asyncio.get_running_loop()
        self._records: list[Record] = []
        self._bytes = 0
        self._ignored = 0
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self.last: Record | None = None
        """The record that ends the answer: `done`, an error, or the one with the embeddings."""

    @property
    def empty(self) -> bool:
        return not self._records and not self.failed

    @property
    def failed(self) -> bool:
        return self.last is not None and self.last.error is not None

    def receive(self, data: bytes) -> asyncio.Future[None] | None:
        """Take bytes as they come; what is returned is done when more may come."""
        if self._first_byte is not None:
            first_byte, self._first_byte = self._first_byte, None
            first_byte()
        if self.last is not None:
            self._ignore(data)
            return None
        try:
            records = self._reader.feed(data)
        except UpstreamInvalidResponse:
            self._keep(self._reader.salvaged)
            if self.last is None:
                raise
            return None
        if not records:
            return None
        self._keep(records)
        self.wake()
        self._bytes += len(data)
        if self._bytes <= MAX_WAITING_BYTES:
            return None
        self._room = self._loop.create_future()
        return self._room

    def finish(self) -> None:
        """The body has ended: read what stands in it without a line end."""
        if self.last is None:
            self._keep(self._reader.finish())

    def arrival(self) -> asyncio.Future[None]:
        """Is done when there is something to take, or the transfer is over."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self) -> list[Record]:
        """All records that have come, but for the last one of the answer."""
        records, self._records = self._records, []
        self._bytes = 0
        if self._room is not None:
            self._room.set_result(None)
            self._room = None
        return records

    def take_all(self) -> list[Record]:
        """The rest of a whole answer."""
        return self.take() if self.last is None else [*self.take(), self.last]

    def _keep(self, records: list[Record]) -> None:
        for position, record in enumerate(records):
            if record.done or record.error is not None or record.embeddings is not None:
                self.last = record
                records = records[:position]
                break
        self._records = self._records + records if self._records else records

    def _ignore(self, data: bytes) -> None:
        self._ignored += len(data)
        if self._ignored > _MAX_IGNORED_BYTES:
            raise UpstreamInvalidResponse("Ollama went on sending after the end of its answer.")


def _failure(response: asyncio.Future[HTTPResponse], inbox: Inbox, call: NativeCall) -> GatewayError | None:
    """What keeps the answer from being whole, if anything does."""
    if not inbox.failed:
        error = response.exception()
        if error is None:
            result = response.result()
            if result.code != 200:
                return error_of(result.code, result.body, endpoint=call.endpoint)
            try:
                inbox.finish()
            except UpstreamInvalidResponse as invalid:
                error = invalid
        if isinstance(error, GatewayError):
            return error
        if error is not None:
            raise error
    if inbox.last is None:
        return UpstreamClosed("Ollama ended its answer before it was whole.")
    return None if inbox.last.error is None else record_error(inbox.last.error, endpoint=call.endpoint)
