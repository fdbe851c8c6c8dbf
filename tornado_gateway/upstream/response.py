"""One response, read strictly: httptools' events to status, headers and body pieces.

Does no I/O and knows no connection. Accepts only what a well-kept HTTP/1 server sends: explicit framing, no compression,
a bounded head. What came before a fault is kept, so that no byte that was received whole is lost.
"""

from __future__ import annotations

import httptools
from tornado.httputil import HTTPHeaders

from tornado_gateway.errors import UpstreamInvalidResponse

MAX_HEAD_BYTES = 16 * 1024
_MAX_INTERIM = 5
"""Responses of the 1xx kind before the real one; each costs work and says nothing."""

_TAIL = 64


class ResponseReader:
    """Feed it bytes; look at `pieces`, `ended` and `fault` after each.

    `pieces` are the parts of the body that the last bytes brought: whoever takes them clears the list. `fault` is set once
    and for all when the response breaks a rule; with `ended` the response is whole, whatever follows it.
    """

    __slots__ = (
        "_chunked",
        "_head_bytes",
        "_headers",
        "_idle_bytes",
        "_interim",
        "_keep_alive",
        "_parser",
        "_without_body",
        "clean",
        "ended",
        "fault",
        "on_body",
        "pieces",
        "status",
    )

    def __init__(self, *, without_body: bool = False) -> None:
        self.pieces: list[bytes] = []
        # httptools calls this for each piece: the list's own method saves a Python frame for each token.
        self.on_body = self.pieces.append
        self.status = 0
        self.ended = False
        self.clean = False
        """Whether the connection may carry another request: kept alive, and not one byte followed the end."""
        self.fault: UpstreamInvalidResponse | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunked = False
        self._keep_alive = False
        self._without_body = without_body
        self._interim = 0
        self._head_bytes = 0
        self._idle_bytes = 0
        """How much came since the last piece of the body."""
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Read on. Never raises: a fault is kept in `fault`, behind the pieces that came before it."""
        assert self._parser is not None  # noqa: S101  # nobody feeds a reader that was closed
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.ended:
                self._refuse(error)
            return
        if self.ended:
            self.clean = self._keep_alive and self._ends_with(data)
        elif self.pieces:
            if self._idle_bytes:
                self._idle_bytes = 0
        else:
            # Heads, trailers and chunk extensions: bytes that carry nothing are not read for ever.
            self._idle_bytes += len(data)
            if self._idle_bytes > MAX_HEAD_BYTES:
                self._refuse(None)

    def close(self) -> None:
        """Let go of the parser: it and this object hold each other."""
        self._parser = None

    @property
    def headers(self) -> HTTPHeaders:
        headers = HTTPHeaders()
        for name, value in self._headers:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
        return headers

    def on_message_begin(self) -> None:
        if self.ended:
            raise _Refused("bytes follow the response")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _Refused("the head is too long")
        if not self.status:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None  # noqa: S101  # it calls us
        status = parser.get_status_code()
        if status in (100, 102, 103):
            self._interim += 1
            self._headers.clear()
            if self._interim > _MAX_INTERIM:
                raise _Refused("too many interim responses")
            return
        if not 200 <= status <= 599:
            raise _Refused("the status is not one of HTTP's final ones")
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise _Refused("the version is not 1.0 or 1.1")
        self.status = status
        self._check_framing(version)
        self._keep_alive = parser.should_keep_alive()
        if self._without_body:
            # The parser cannot be told that no body follows the answer to HEAD, so the connection is not used again.
            self.ended, self._keep_alive = True, False

    def on_message_complete(self) -> None:
        if self.status:
            self.ended = True

    def _check_framing(self, version: str) -> None:
        length = False
        for name, value in self._headers:
            lowered = name.lower()
            if lowered == b"content-length":
                length = True
            elif lowered == b"transfer-encoding":
                # The parser takes "gzip, chunked" for chunked and "xchunked" for a body that ends with the connection.
                if self._chunked or value.strip().lower() != b"chunked" or version != "1.1":
                    raise _Refused("the transfer coding is not chunked")
                self._chunked = True
            elif lowered == b"content-encoding" and value.strip().lower() != b"identity":
                raise _Refused("the body is compressed, which was not asked for")
        if length == self._chunked and not self._without_body and (length or self.status not in (204, 304)):
            raise _Refused("the end of the body is not told by exactly one of length and chunks")

    def _ends_with(self, data: bytes) -> bool:
        """Whether `data` ends where the response does. A stray CRLF behind it is seen here: the parser skips it."""
        if self._chunked:
            return data.endswith(b"0\r\n\r\n")
        if self.pieces:
            return data.endswith(self.pieces[-1][-_TAIL:])
        return data.endswith(b"\r\n\r\n") and not data.endswith(b"\r\n\r\n\r\n")

    def _refuse(self, error: Exception | None) -> None:
        if self.fault is None:
            self.fault = UpstreamInvalidResponse("What came from Ollama is not an HTTP response that it would send.")
            self.fault.__cause__ = (error.__context__ or error) if error is not None else None


class _Refused(Exception):
    """Stops the parser; becomes the cause of the fault."""
