"""One client's connection: its requests, one after another, driven through a Tornado application.

To the application it is what Tornado's server is: `find_handler`, then `headers_received`, `data_received` and `finish`, and the close
callback when the client leaves. To the handlers it is a `Peer`. Unlike Tornado's server it goes on reading while a request is at work, so
that a client that leaves is seen at once; and a body that came whole with its head is handed over before the handler begins.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate
from tornado.web import Application

from tornado_gateway.downstream.body import Body, ChunkedBody, PlainBody
from tornado_gateway.downstream.head import Head, head_end, read_head, too_long
from tornado_gateway.downstream.sending import Sending
from tornado_gateway.errors import GatewayError
from tornado_gateway.handlers.reply import error_answer
from tornado_gateway.handlers.request import ClientRequest
from tornado_gateway.log import get_logger
from tornado_gateway.presence import Presence

_READ_AHEAD_BYTES = 64 * 1024
"""What may lie unread behind a request that is at work; more is left to the kernel."""
_NONE = HTTPHeaders()
"""What a delegate is given for headers: it was made for a request, which has them."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_EMPTY_LINES = re.compile(rb"(?:\r\n)*")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class House:
    """What the connections of one server share."""

    application: Application
    presence: Presence
    max_header_bytes: int
    protocol: str
    """`http` or `https`."""
    lost: Callable[[ClientConnection], None]
    """Told when a connection is closed."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a request comes from: what `HTTPServerRequest` looks for."""

    remote_ip: str
    protocol: str


class ClientConnection(Sending):
    """A protocol for the loop's own transport. `client` is the address of the peer, without its port."""

    __slots__ = (
        "_body",
        "_delegate",
        "_expects",
        "_head_begun",
        "_held",
        "_house",
        "_progress_seen",
        "_searched",
        "_served",
        "_since",
        "_taking",
        "_unread",
        "_watched",
        "context",
    )

    def __init__(self, house: House, client: str) -> None:
        super().__init__()
        self.context = _Origin(client, house.protocol)
        self._house = house
        self._unread: bytes | bytearray = b""
        """What has come and is not looked at yet: a part of a head, or what lies behind a request at work."""
        self._searched = 0
        """How much of it has been searched for the end of a head."""
        self._delegate: HTTPMessageDelegate | None = None
        """The request that is at work."""
        self._body: Body | None = None
        """Its body, until that has ended."""
        self._held = b""
        """A part of the body that the handler is not ready for."""
        self._taking = False
        """Whether the handler is ready for the body."""
        self._expects = False
        """Whether the client waits to be told to send the body."""
        self._watched = -1
        """The descriptor while what comes is left to the kernel."""
        self._since = time.monotonic()
        """When the wait for a head, the head, or the reading of a body began, or the client last took some of an answer that is finished;
        meaningless while a request is answered."""
        self._progress_seen = 0
        """How far the client was in taking a finished answer when that was last looked at."""
        self._head_begun = False
        self._served = False

    @property
    def client(self) -> str:
        return self.context.remote_ip

    @property
    def busy(self) -> bool:
        """Whether a request is at work, or its answer still on its way."""
        return self._delegate is not None or self._congested

    def overdue(self, now: float, head_seconds: float, idle_seconds: float) -> bool:
        """Whether a head has taken too long, from its first byte or, on a new connection, from the start; or a body has; or an answer."""
        if self.lingering:
            return False
        if self._delegate is None and self._congested:
            return self._untaken_since(now) > idle_seconds
        waited = now - self._since
        if self.busy:
            return self._taking and waited > head_seconds
        if self._head_begun:
            return waited > head_seconds
        return waited > (idle_seconds if self._served else min(head_seconds, idle_seconds))

    def _untaken_since(self, now: float) -> float:
        """For how long the client has taken nothing of a finished answer that nobody waits for: an error, say, among many unread ones."""
        progress = self._progress()
        if progress != self._progress_seen or self.awaited:
            self._progress_seen, self._since = progress, now
        return now - self._since

    def connection_lost(self, exc: Exception | None) -> None:
        self._resume_reading()
        super().connection_lost(exc)
        # A request holds its connection: let go here, both are freed at once, and not by the collector.
        self._delegate = self._body = None
        self._unread = self._held = b""
        self._house.lost(self)

    def data_received(self, data: bytes) -> None:
        if self.lingering:
            self._drop(len(data))
            return
        if self._ending:
            return
        self._add(data)
        if self._taking:
            self._read_body()
        elif not self.busy:
            self._read_head()
        if self.busy and not self._taking and len(self._unread) > _READ_AHEAD_BYTES:
            self._pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._delegate is None:
            self._since = time.monotonic()
        self._read_next()

    def finish(self, *, keep_alive: bool) -> None:
        """The answer is written: see `Peer`."""
        whole = self._body is None
        self._delegate = self._body = self._close_callback = None
        self._taking = False
        self._since, self._head_begun = time.monotonic(), bool(self._unread)
        if not (keep_alive and whole):
            self._end()
            return
        if len(self._unread) <= _READ_AHEAD_BYTES:  # else what is read would grow with each answer
            self._resume_reading()
        if self._unread:
            self._loop.call_soon(self._read_next)

    def _add(self, data: bytes) -> None:
        if not self._unread:
            self._unread = data
        elif isinstance(self._unread, bytearray):
            self._unread += data
        else:
            self._unread = bytearray(self._unread) + data

    def _read_next(self) -> None:
        """The head that came behind a request, once the answer to that is on its way: answers must not pile up either."""
        if self._unread and not self.busy and not self._closed and not self._ending and not self.lingering:
            self._read_head()

    def _read_head(self) -> None:
        if not self._head_begun:
            self._head_begun, self._since = True, time.monotonic()
        try:
            head = self._whole_head()
        except GatewayError as error:
            self._refuse(error)
        else:
            if head is None:
                self._resume_reading()
            else:
                self._begin(head)

    def _whole_head(self) -> Head | None:
        unread, most = self._unread, self._house.max_header_bytes
        if unread.startswith(b"\r\n"):  # RFC 9112, 2.2: empty lines before a request are passed over
            lines = _EMPTY_LINES.match(unread)
            self._unread = unread = unread[lines.end() :] if lines is not None else unread
        end = head_end(unread, max(0, self._searched - 3))
        if (len(unread) if end < 0 else end) > most:
            raise too_long(most)
        if end < 0:
            self._searched = len(unread)
            return None
        self._searched = 0
        self._unread = bytes(unread[end:])
        return read_head(bytes(unread[:end]))

    def _begin(self, head: Head) -> None:
        request = ClientRequest(head.start, head.fields, head.repeated, self)
        self._served, self._head_begun = True, False
        self._delegate = delegate = self._house.application.find_handler(request)
        ready = delegate.headers_received(head.start, _NONE)
        if head.length == 0:
            delegate.finish()
            return
        self._body = ChunkedBody() if head.length is None else PlainBody(head.length)
        self._expects, self._written = head.expects_continue and not self._unread, False
        if self._feed():
            self._deliver()
        if self._body is not None:
            if ready is None:
                self._take(None)
            else:
                asyncio.ensure_future(ready).add_done_callback(self._take)

    def _feed(self) -> bool:
        """Read on in the body; whether it has ended."""
        body = self._body
        if body is None:
            return False
        try:
            piece, self._unread = body.feed(bytes(self._unread))
        except GatewayError as error:
            self._refuse(error)
            return False
        self._held = self._held + piece if self._held else piece
        return body.ended

    def _take(self, _: object) -> None:
        """The handler is ready for the body, or for more of it."""
        if self._body is None or self._closed or self.lingering:
            return
        if self._expects and not self._written and not self._unread and not self._held:
            self.write(_CONTINUE)
        self._taking, self._since = True, time.monotonic()
        self._resume_reading()
        self._read_body()

    def _read_body(self) -> None:
        if self._unread:
            self._feed()
        self._deliver()

    def _deliver(self) -> None:
        """Hand over what is held of the body, and its end."""
        delegate, body = self._delegate, self._body
        if delegate is None or body is None or self.lingering:
            return
        piece, self._held = self._held, b""
        work = delegate.data_received(piece) if piece else None
        if work is not None:
            self._wait_for(work)
        elif body.ended:
            self._body, self._taking = None, False
            delegate.finish()

    def _wait_for(self, work: Awaitable[None]) -> None:
        """The handler has something to do before it can take more."""
        self._taking = False
        self._pause_reading()
        asyncio.ensure_future(work).add_done_callback(self._take)

    def _pause_reading(self) -> None:
        """Leave what comes to the kernel. The transport no longer sees who leaves: the watch does."""
        if self._transport is not None and self._watched < 0 and not self._transport.is_closing():
            self._watched = self._transport.get_extra_info("socket").fileno()
            self._transport.pause_reading()
            self._house.presence.watch(self._watched, self._left_unread)

    def _resume_reading(self) -> None:
        if self._transport is None or self._watched < 0:
            return
        self._house.presence.forget(self._watched, self._left_unread)
        self._watched = -1
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _left_unread(self) -> None:
        """The client has left, with bytes that nobody will read."""
        self._gone()
        self.abort()

    def _refuse(self, error: GatewayError) -> None:
        """Answer what no handler can be asked, and end the connection so that the answer can be read."""
        _log.info("request_malformed", client=self.client, reason=error.message)
        self.write(error_answer(error))
        self._shut_sending()
        self._drop_what_comes(generous=False)
        self._tell_gone()

    def _drop_what_comes(self, *, generous: bool) -> None:
        super()._drop_what_comes(generous=generous)
        self._unread = self._held = b""
        self._resume_reading()
