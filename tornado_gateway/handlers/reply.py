"""One answer on its way to a client: the sink that is a socket.

It writes to the connection, not through `RequestHandler.write`: Tornado must not be able to give a broken stream a regular end.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus

from tornado.httputil import HTTPServerRequest

from tornado_gateway.errors import ErrorBody, GatewayError
from tornado_gateway.handlers.peer import Peer
from tornado_gateway.handlers.request import fields_of
from tornado_gateway.wire.ollama import encode_json
from tornado_gateway.wire.sse import event

JSON = "application/json"
LAST_WORDS_SECONDS = 0.5
"""How long a failing stream waits for its last event to leave."""
_BARE = frozenset({204, 304})
"""Answers that end with their head, whatever stands in it: RFC 9110, sections 15.3.5 and 15.4.5."""
_MOST_SIZES = 1024
_SIZES = tuple(b"%x\r\n" % size for size in range(_MOST_SIZES))
"""How small chunks begin: a look costs a third of formatting, once the processor's caches have let go of both."""
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Reply:
    """A sink (see `delivery.Sink`) that writes HTTP/1.1. `headers` gives what goes out with the head, asked for when it does."""

    __slots__ = (
        "_chunked",
        "_fail",
        "_head_only",
        "_headers",
        "_keep_alive",
        "_modern",
        "_peer",
        "_server_keeps_alive",
        "_stall_seconds",
        "bytes_out",
        "ended",
        "started",
        "status",
    )

    def __init__(
        self,
        request: HTTPServerRequest,
        peer: Peer,
        stall_seconds: float,
        headers: Callable[[], Mapping[str, str]],
        *,
        keep_alive: Callable[[], bool],
    ) -> None:
        self._peer = peer
        self._stall_seconds = stall_seconds
        self._headers = headers
        self._head_only = request.method == "HEAD"
        self._modern = request.version == "HTTP/1.1"
        self._chunked = self._modern and not self._head_only
        self._keep_alive = _may_keep_alive(request)
        self._server_keeps_alive = keep_alive
        self._fail: Callable[[GatewayError], bytes] = fail_event
        self.started = False
        self.ended = False
        self.status: int | None = None
        self.bytes_out = 0

    @property
    def congested(self) -> bool:
        """Whether bytes wait that the kernel did not take."""
        return self._peer.congested

    @property
    def closed(self) -> bool:
        return self._peer.closed

    def start(self, content_type: str, fail: Callable[[GatewayError], bytes]) -> None:
        """Send the head of a streamed answer; `fail` gives the words with which it would break off."""
        self._fail = fail
        headers = {"Content-Type": content_type, "Cache-Control": "no-cache", "X-Accel-Buffering": "no", **self._headers()}
        if self._chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif not self._head_only:
            self._keep_alive = False  # the end of the connection is the end of the body
        head = self._head(200, headers)
        self.started = True
        self._peer.write(head)

    def write(self, data: bytes) -> bool:
        """Send a part of a streamed answer; whether the kernel has taken all that was sent."""
        length = len(data)
        self.bytes_out += length
        if self._chunked:
            data = b"".join((_SIZES[length] if length < _MOST_SIZES else b"%x\r\n" % length, data, b"\r\n"))
        return self._peer.write(data)

    async def drain(self) -> None:
        """Wait until the kernel has taken all; raises `ReaderStalled` when it took nothing for too long."""
        await self._peer.drain(self._stall_seconds)

    def end(self, data: bytes) -> None:
        """Send the last part of a streamed answer and the regular end of its body."""
        self.bytes_out += len(data)
        self.ended = True
        if self._chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        self._peer.write(data)
        self._finish()

    def whole(self, content_type: str, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Send an answer that is not streamed, and its end."""
        self._whole(content_type, body, status, headers or {})
        self._finish()

    def error(self, error: GatewayError, status: int) -> None:
        """Send an error as a whole answer."""
        self.whole(JSON, error_body(error.body()), status=status, headers=error_headers(error))

    async def last_error(self, error: GatewayError, status: int) -> None:
        """Send an error while the request's body is still coming in, and shut the sending side: the receiving side stays open.

        Tornado would close at once, and a close with bytes unread is a reset that throws the error away.
        """
        self._keep_alive = False
        self._whole(JSON, error_body(error.body()), status, error_headers(error))
        await self._peer.shut_sending()

    def _whole(self, content_type: str, body: bytes, status: int, headers: Mapping[str, str]) -> None:
        bare = status in _BARE
        fixed = {} if bare else {"Content-Type": content_type, "Content-Length": str(len(body))}
        head = self._head(status, {**fixed, **self._headers(), **headers})
        self.started = self.ended = True
        if bare or self._head_only:
            body = b""
        self.bytes_out += len(body)
        self._peer.write(head + body)

    async def break_off(self, error: GatewayError) -> None:
        """End a streamed answer that has begun: one error event, then a close without the end of the body."""
        self.ended = True
        if not self._peer.closed:
            self.write(self._fail(error))
            await self._peer.flush(LAST_WORDS_SECONDS)
        self.abort()

    def let_go(self) -> None:
        """Hold nobody any more; nothing is sent after this."""
        self._headers = dict

    def abort(self) -> None:
        """Close the connection at once."""
        self.ended = True
        self._peer.close()

    def _head(self, status: int, headers: Mapping[str, str]) -> bytes:
        self.status = status
        self._keep_alive = self._keep_alive and self._server_keeps_alive()
        kept = "Connection: close\r\n" if not self._keep_alive else "" if self._modern else "Connection: Keep-Alive\r\n"
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        reason = _REASONS.get(status, "Unknown")
        # Replaced, so that a header that a plugin put past `add_header` does not cost the answer.
        return f"HTTP/1.1 {status} {reason}\r\n{lines}{kept}Date: {_date()}\r\n\r\n".encode("latin-1", "replace")

    def _finish(self) -> None:
        self._peer.finish(keep_alive=self._keep_alive)


def _may_keep_alive(request: HTTPServerRequest) -> bool:
    """What the client asked of the connection: RFC 9112, section 9.3."""
    modern = request.version == "HTTP/1.1"
    given = fields_of(request).get("connection")
    if given is None:
        return modern
    asked = {token.strip() for token in given.lower().split(",")}
    return "close" not in asked and (modern or "keep-alive" in asked)


def error_answer(error: GatewayError) -> bytes:
    """A whole answer for a request that no handler sees; the connection ends with it."""
    body = error_body(error.body())
    fixed = {
        "Content-Type": JSON,
        "Content-Length": str(len(body)),
        "X-Request-Id": secrets.token_hex(16),
        "Connection": "close",
    }
    lines = "".join([f"{name}: {value}\r\n" for name, value in {**fixed, **error_headers(error)}.items()])
    return f"HTTP/1.1 {error.status} {_REASONS[error.status]}\r\n{lines}Date: {_date()}\r\n\r\n".encode("latin-1") + body


def error_body(error: ErrorBody) -> bytes:
    return encode_json({"error": error})


def fail_event(error: GatewayError) -> bytes:
    """An error as a stream event, in OpenAI's form."""
    return event({"error": error.body()})


def error_headers(error: GatewayError) -> dict[str, str]:
    """What an error's head says beside its body: whether and when the same request may come again."""
    headers = {"X-Should-Retry": "true" if error.retry else "false", **error.headers}
    if error.retry or error.retry_after is not None:
        seconds = max(0.001, 1.0 if error.retry_after is None else error.retry_after)
        headers["Retry-After"] = str(-int(-seconds // 1))
        headers["retry-after-ms"] = str(-int(-seconds * 1000 // 1))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


_dated: tuple[int, str] = (0, "")


def _date() -> str:
    global _dated  # one formatted second for all answers of the process
    now = int(time.time())
    if _dated[0] != now:
        _dated = (now, formatdate(now, usegmt=True))
    return _dated[1]
