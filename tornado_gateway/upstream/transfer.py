"""One request and its answer: from dialling to the last byte, with the limits that hold on the way.

It ends exactly once: whole, failed, or aborted by whoever wanted it. What it holds, a dial or a connection, ends with it.
"""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

from tornado_gateway.errors import GatewayError, UpstreamInvalidResponse, UpstreamTimeout, UpstreamUnavailable
from tornado_gateway.upstream.connection import Connection
from tornado_gateway.upstream.dial import Dial
from tornado_gateway.upstream.response import ResponseReader

MAX_REFUSAL_BYTES = 64 * 1024
"""What is kept of the body of an answer whose status is not 200: enough for any error text."""

Chunk = Callable[[bytes], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, None for no limit, and bytes."""

    connect: float | None = 5.0
    first_byte: float | None = 300.0
    idle: float | None = 60.0
    total: float | None = None
    max_body_bytes: int = 16 * 1024 * 1024
    """For bodies that are collected."""


class Transfer:
    """`ended` is called once: with the response, whose `error` is set after a failure, or with None after `abort`."""

    __slots__ = (
        "_began",
        "_body",
        "_chunk",
        "_connection",
        "_dial",
        "_ended",
        "_limits",
        "_loop",
        "_phase",
        "_receiving",
        "_request",
        "_since",
        "_whole",
        "heard",
    )

    def __init__(
        self,
        request: HTTPRequest,
        limits: Limits,
        ended: Callable[[HTTPResponse | None], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.heard = False
        """Set by the connection whenever bytes come; the clock looks at it and puts it back."""
        self._request = request
        self._limits = limits
        self._ended: Callable[[HTTPResponse | None], None] | None = ended
        self._loop = loop
        self._began = self._since = loop.time()
        self._phase: Literal["connecting", "waiting", "reading"] = "connecting"
        self._chunk: Chunk | None = request.streaming_callback
        self._body = bytearray()
        self._dial: Dial | None = None
        self._connection: Connection | None = None
        self._receiving: asyncio.Future[None] | None = None
        self._whole: ResponseReader | None = None

    @property
    def over(self) -> bool:
        return self._ended is None

    def dialling(self, dial: Dial) -> None:
        self._dial = dial

    def send(self, connection: Connection, head: bytes, body: bytes) -> None:
        """From here on the request counts as sent: nothing sends it again."""
        self._dial = None
        self._connection = connection
        self._phase, self._since = "waiting", self._loop.time()
        connection.send(self, head, body, without_body=self._request.method == "HEAD")

    def receive(self, reader: ResponseReader) -> None:
        pieces = reader.pieces
        data = pieces.pop()
        if pieces:
            data = b"".join((*pieces, data))
            pieces.clear()
        chunk = self._chunk
        if chunk is None or reader.status != 200:
            self._collect(data, reader)
            return
        try:
            receiving = chunk(data)
        except Exception as error:  # noqa: BLE001  # the callback's own failure is what its caller gets to see
            self._drop()
            self._finish(error)
            return
        if receiving is not None:
            self._wait_for(receiving)

    def complete(self, reader: ResponseReader) -> None:
        self._connection = None
        self._whole = reader
        if self._receiving is None:
            self._finish(None)

    def fail(self, error: GatewayError) -> None:
        self._drop()
        self._finish(error)

    def abort(self) -> None:
        """Stop at once, in whatever phase. Does nothing once the transfer is over."""
        self._drop()
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(None)

    def check(self, now: float) -> None:
        """Look at the limits; the client's clock calls this."""
        if self.heard:
            self.heard = False
            self._phase, self._since = "reading", now
        elif self._receiving is not None:
            # Nothing is read while the reader of this answer is busy: that is not Ollama's silence.
            self._since = now
        elif now - self._since >= self._limit():
            self.fail(self._too_late())
            return
        if self._limits.total is not None and now - self._began >= self._limits.total:
            self.fail(UpstreamTimeout(f"Ollama's answer was not whole after {self._limits.total:g} seconds."))

    def _limit(self) -> float:
        limits = self._limits
        limit = {"connecting": limits.connect, "waiting": limits.first_byte, "reading": limits.idle}[self._phase]
        return math.inf if limit is None else limit

    def _too_late(self) -> GatewayError:
        seconds = f"{self._limit():g} seconds"
        if self._phase == "connecting":
            return UpstreamUnavailable(f"No connection to Ollama could be made within {seconds}.", retry_after=1.0)
        if self._phase == "waiting":
            return UpstreamTimeout(f"Nothing came from Ollama within {seconds}.")
        return UpstreamTimeout(f"Ollama stopped in the middle of its answer and was silent for {seconds}.")

    def _collect(self, data: bytes, reader: ResponseReader) -> None:
        self._body += data
        if reader.status != 200:
            if len(self._body) > MAX_REFUSAL_BYTES:
                # The status is what matters and is known; the rest of such a body is not worth reading.
                del self._body[MAX_REFUSAL_BYTES:]
                self._drop()
                self.complete(reader)
        elif len(self._body) > self._limits.max_body_bytes:
            self.fail(UpstreamInvalidResponse("Ollama's answer is longer than such an answer may be."))

    def _wait_for(self, receiving: Awaitable[None]) -> None:
        future = asyncio.ensure_future(receiving)
        self._receiving = future
        if self._connection is not None:
            self._connection.pause()
        future.add_done_callback(self._received)

    def _received(self, future: asyncio.Future[None]) -> None:
        self._receiving = None
        error = None if future.cancelled() else future.exception()
        if self.over:
            return
        if error is not None or future.cancelled():
            self._drop()
            self._finish(error or asyncio.CancelledError())
        elif self._whole is not None:
            self._finish(None)
        elif self._connection is not None:
            self._connection.resume()

    def _drop(self) -> None:
        dial, connection = self._dial, self._connection
        self._dial = self._connection = None
        if dial is not None:
            dial.abort()
        if connection is not None:
            connection.abort()

    def _finish(self, error: BaseException | None) -> None:
        ended, self._ended = self._ended, None
        if ended is None:
            return
        seconds = self._loop.time() - self._began
        if error is not None or self._whole is None:
            ended(HTTPResponse(self._request, 599, error=error, request_time=seconds))
            return
        ended(_Received(self._request, self._whole, io.BytesIO(self._body), seconds))


class _Received(HTTPResponse):
    """A response whose headers are made into Tornado's, which costs half as much as a request, when they are asked for."""

    _headers: HTTPHeaders

    def __init__(self, request: HTTPRequest, reader: ResponseReader, body: io.BytesIO, seconds: float) -> None:
        self._reader = reader
        super().__init__(request, reader.status, headers=_NOT_MADE, buffer=body, request_time=seconds)

    @property
    def headers(self) -> HTTPHeaders:
        if self._headers is _NOT_MADE:
            self._headers = self._reader.headers
        return self._headers

    @headers.setter
    def headers(self, headers: HTTPHeaders) -> None:
        self._headers = headers


_NOT_MADE = HTTPHeaders()
