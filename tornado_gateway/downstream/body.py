"""The body of a request as it arrives: by length or in chunks, and where it ends. Pure.

Chunks as clients send them: no extensions and no trailers, which nobody here would read, and in which requests have been smuggled.
"""

from __future__ import annotations

import re
from typing import Protocol

from tornado_gateway.downstream.head import malformed

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_MOST_SIZE_LINE = 64


class Body(Protocol):
    """A body that is being read."""

    ended: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The part of the body that `data` brings, and what follows the body's end. Raises `InvalidRequest`."""
        ...


class PlainBody:
    """A body of a known length, in bytes."""

    __slots__ = ("_left", "ended")

    def __init__(self, length: int) -> None:
        self._left = length
        self.ended = not length

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        left = self._left
        if len(data) < left:
            self._left -= len(data)
            return data, b""
        self._left, self.ended = 0, True
        return (data, b"") if len(data) == left else (data[:left], data[left:])


class ChunkedBody:
    """A body in chunks."""

    __slots__ = ("_behind", "_last", "_left", "_rest", "ended")

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""
        """What came of a line that is not whole."""
        self._left = 0
        """Bytes of the chunk that are still to come."""
        self._behind = False
        """Whether the line that comes is the empty one behind a chunk."""
        self._last = False
        """Whether that chunk is the last one, whose size is 0."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        data, self._rest = self._rest + data, b""
        pieces: list[bytes] = []
        at = 0
        while not self.ended:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
            end = data.find(b"\r\n", at)
            if end < 0:
                self._rest = self._checked(data[at:])
                at = len(data)
                break
            self._line(data[at:end])
            at = end + 2
        return b"".join(pieces), data[at:]

    def _line(self, line: bytes) -> None:
        """A size, or the empty line behind a chunk."""
        if self._behind:
            if line:
                raise malformed()
            self._behind, self.ended = False, self._last
        elif _SIZE.fullmatch(line):
            self._left = int(line, 16)
            self._behind, self._last = True, not self._left
        else:
            raise malformed()

    def _checked(self, begun: bytes) -> bytes:
        """The beginning of a line, as long as it can still become a good one."""
        if len(begun) > _MOST_SIZE_LINE or (self._behind and begun not in (b"", b"\r")):
            raise malformed()
        return begun
