"""The bytes that come from one client: heads that are too long, ambiguous or too slow are refused before Tornado reads them.

Tornado accepts lines that end in a bare LF and honours a `Transfer-Encoding` smuggled behind one; a head over its limit it drops without a
word; one time limit of its serves for idle connections and slow heads alike. Here each has its own answer.
"""

from __future__ import annotations

import asyncio
import re
import time
from asyncio import Future
from typing import Any

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from tornado_gateway.errors import GatewayError, HeadersTooLarge, InvalidRequest
from tornado_gateway.handlers.reply import error_answer

READ_AT_MOST_BYTES = 256 * 1024
"""A longer head is cut off without an answer; up to here it is read, so that the refusal of a long one can be."""

_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\r\n"))
_ODD_SPACE = re.compile(rb"\r\ntransfer-encoding:[ ]*[^\r\n]*\t", re.IGNORECASE)
_TORNADOS_REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class StrictStream(IOStream):
    """What both kinds of stream add to Tornado's."""

    def __init__(self, *args: Any, max_header_bytes: int, **kwargs: Any) -> None:
        self._max_header_bytes = max_header_bytes
        self.waits_since: float | None = time.monotonic()
        """When the wait for a head began; None while a request is read or answered."""
        self.head_since: float | None = None
        """When the first byte of the awaited head came."""
        self.body_since: float | None = None
        """When the reading of a body began; set by the handler that reads it."""
        self.served = 0
        super().__init__(*args, **kwargs)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        count = super().read_from_fd(buf)
        if count and self.waits_since is not None and self.head_since is None:
            self.head_since = time.monotonic()
        return count

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Future[bytes]:
        """A request's head: Tornado reads nothing else in this way."""
        self.waits_since = time.monotonic()
        self.head_since = None
        head = asyncio.ensure_future(super().read_until_regex(regex, max_bytes))
        checked: Future[bytes] = asyncio.get_running_loop().create_future()
        head.add_done_callback(lambda read: self._check(read, checked))
        return checked

    def write(self, data: bytes | memoryview) -> Future[None]:
        if data == _TORNADOS_REFUSAL:
            # What Tornado finds malformed it refuses with a bare status line; clients are used to a reason.
            data = error_answer(InvalidRequest("The request is malformed."))
        return super().write(data)

    def overdue(self, now: float, head_seconds: float, idle_seconds: float) -> bool:
        """Whether a head has taken too long, from its first byte, or, on a new connection, from the start; or a body has."""
        if self.waits_since is None:
            return self.body_since is not None and now - self.body_since > head_seconds
        if self.head_since is not None:
            return now - self.head_since > head_seconds
        return now - self.waits_since > (idle_seconds if self.served else min(head_seconds, idle_seconds))

    def _check(self, read: Future[bytes], checked: Future[bytes]) -> None:
        if checked.done():
            read.cancelled() or read.exception()
            return
        error = None if read.cancelled() else read.exception()
        if read.cancelled() or error is not None:
            checked.set_exception(error or StreamClosedError())
            return
        head = read.result()
        self.waits_since = None
        self.served += 1
        refusal = _refusal(head, self._max_header_bytes)
        if refusal is None:
            checked.set_result(head)
            return
        if not self.closed():
            super().write(error_answer(refusal)).add_done_callback(lambda _: self.close())
        checked.set_exception(StreamClosedError())


class ClientStream(StrictStream):
    """A plain connection."""


class SecureClientStream(StrictStream, SSLIOStream):
    """A connection with TLS."""


def _refusal(head: bytes, max_header_bytes: int) -> GatewayError | None:
    if len(head) > max_header_bytes:
        return HeadersTooLarge(f"The request's head is larger than {max_header_bytes} bytes.")
    if not head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r"):
        return InvalidRequest("The lines of a request's head must end with CR and LF.")
    if len(head.translate(None, _CONTROLS)) != len(head):
        # Tornado would refuse these too, and log the value, which may be a key.
        return InvalidRequest("A request's head must not hold control characters.")
    if b"\t" in head and _ODD_SPACE.search(head):
        return InvalidRequest("The request is malformed.")
    return None
