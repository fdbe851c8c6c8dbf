"""Head and body to bytes: the ways to tell a body's length, right and wrong. Pure.

A *step* is a pause in seconds, bytes to write, and how many records those complete.
"""

from __future__ import annotations

import email.utils
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

from tornado_gateway.testing.behaviour import Framing

Step = tuple[float, bytes, int]

UNENDED: frozenset[Framing] = frozenset({"too_long", "unterminated", "bad_chunk"})
"""Framings after which the peer still waits for bytes: such an answer is not whole."""

WITH_LENGTH: frozenset[Framing] = frozenset({"length", "too_long", "too_short"})


@dataclass(frozen=True, slots=True)
class Head:
    """`headers` are whole lines."""

    status: int
    content_type: str
    headers: str
    now: float

    def bytes(self, length: str) -> bytes:
        return _head(self.status, self.content_type, self.headers, length, int(self.now))


def framed(
    head: Head, parts: Iterator[Step], framing: Framing, first: float, *, length: int | None, ended: bool
) -> Iterator[Step]:
    """The head goes out with the first part, as in Ollama: nothing is sent before there is something to say.

    `first` is the silence before it, `length` the body's for framings that tell it. Not `ended` leaves out the zero chunk.
    """
    begun = head.bytes(_length_lines(framing, length))
    plain = framing == "close" or framing in WITH_LENGTH
    for index, (pause, data, records) in enumerate(parts):
        size = b"zz" if framing == "bad_chunk" and index == 1 else b"%x" % len(data)
        yield first + pause, begun + (data if plain else b"%b\r\n%b\r\n" % (size, data)), records
        begun, first = b"", 0.0
    if ended and framing in {"chunked", "both"}:
        begun += b"0\r\n\r\n"
    if begun:
        yield first, begun, 0


def _length_lines(framing: Framing, length: int | None) -> str:
    if length is not None:
        length += {"too_long": 100, "too_short": -min(10, length)}.get(framing, 0)
        return f"Content-Length: {length}\r\n"
    if framing == "close":
        return ""
    return "Transfer-Encoding: chunked\r\n" + ("Content-Length: 5\r\n" if framing == "both" else "")


@lru_cache(maxsize=256)
def _head(status: int, content_type: str, headers: str, length: str, now: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = f"status code {status}"
    type_line = f"Content-Type: {content_type}\r\n" if content_type else ""
    date = email.utils.formatdate(now, usegmt=True)
    return f"HTTP/1.1 {status} {phrase}\r\n{headers}{type_line}Date: {date}\r\n{length}\r\n".encode("latin-1", "replace")
