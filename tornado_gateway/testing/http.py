"""HTTP/1.1 requests out of bytes: one at a time, however they are cut, pipelined or not. No socket here."""

from __future__ import annotations

from dataclasses import dataclass

MAX_HEAD_BYTES = 1 << 20
_CHUNK_LINE_BYTES = 256


class BadRequest(Exception):
    """Bytes that are no request; the text is what Go's server answers."""


@dataclass(slots=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case; values of a repeated name joined with ", "."""
    body: bytes
    keep_alive: bool

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(slots=True)
class _Head:
    method: str
    target: str
    headers: dict[str, str]
    length: int | None
    """None: chunked."""
    keep_alive: bool


class RequestReader:
    """`feed` bytes, then take requests with `next` until it gives None."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._body = bytearray()
        self.wants_continue = False
        """The client waits for `100 Continue` before it sends the body; reading it resets it."""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def pending(self) -> bool:
        """Bytes are there that no request has taken."""
        return bool(self._buffer)

    def next(self) -> Request | None:
        """The next whole request. Raises `BadRequest`."""
        if self._head is None:
            self._head = self._read_head()
        head = self._head
        if head is None:
            return None
        if head.length is None:
            if not self._read_chunks():
                return None
            body = bytes(self._body)
        else:
            if len(self._buffer) < head.length:
                return None
            body = bytes(self._buffer[: head.length])
            del self._buffer[: head.length]
        self._head, self._body = None, bytearray()
        return Request(head.method, head.target, head.headers, body, head.keep_alive)

    def _read_head(self) -> _Head | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BadRequest("431 Request Header Fields Too Large")
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        parts = lines[0].split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise BadRequest("400 Bad Request")
        headers = _headers(lines[1:])
        if "host" not in headers and parts[2] != "HTTP/1.0":
            raise BadRequest("400 Bad Request: missing required Host header")
        self.wants_continue = headers.get("expect", "").lower() == "100-continue" and not self._buffer
        return _Head(parts[0], parts[1], headers, _length(headers), _keep_alive(parts[2], headers))

    def _read_chunks(self) -> bool:
        """Take chunks off the buffer; True once the last one was there."""
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                if len(self._buffer) > _CHUNK_LINE_BYTES:
                    raise BadRequest("400 Bad Request")
                return False
            size = _chunk_size(bytes(self._buffer[:end]))
            if len(self._buffer) < end + 4 + size:
                return False
            if self._buffer[end + 2 + size : end + 4 + size] != b"\r\n":
                raise BadRequest("400 Bad Request")
            self._body += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 4 + size]
            if not size:
                return True


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest("400 Bad Request")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _length(headers: dict[str, str]) -> int | None:
    if "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked":
            raise BadRequest("501 Not Implemented")
        return None
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequest("400 Bad Request")
    return int(length)


def _keep_alive(version: str, headers: dict[str, str]) -> bool:
    connection = headers.get("connection", "").lower()
    return connection == "keep-alive" if version == "HTTP/1.0" else connection != "close"


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        return int(digits, 16)
    except ValueError:
        raise BadRequest("400 Bad Request") from None
