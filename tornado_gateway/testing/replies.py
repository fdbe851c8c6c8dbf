"""Answers to bytes: framing, pace and every way to get them wrong. Pure generators, one laid over the other.

A *step* is a pause in seconds, bytes to write, and how many records those complete.
"""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus

from tornado_gateway.testing.behaviour import Behaviour, End

Step = tuple[float, bytes, int]

JSON = "application/json; charset=utf-8"
NDJSON = "application/x-ndjson"
TEXT = "text/plain; charset=utf-8"
PLAIN = "text/plain"
_UNCHUNKED_BYTES = 2048
"""Go's server sends a length when the whole body fits its buffer, chunks otherwise."""


@dataclass(slots=True)
class Reply:
    """What is to be sent, and what becomes of the connection then."""

    status: int
    steps: Iterator[Step]
    end: End = "keep"
    whole: bool = True
    """False for an answer that is cut on purpose."""
    release: Callable[[], None] = field(default=lambda: None)
    """Called once, when the request is over however it ends."""


def body_reply(
    status: int,
    body: bytes,
    behaviour: Behaviour,
    now: float,
    *,
    content_type: str = JSON,
    headers: str = "",
    head_only: bool = False,
) -> Reply:
    """An answer that is one body."""
    if head_only:
        head = _head(status, headers, content_type, f"Content-Length: {len(body)}\r\n", behaviour, now)
        return Reply(status, iter([(behaviour.first_byte_seconds or 0.0, head, 0)]))
    if behaviour.framing is None and len(body) <= _UNCHUNKED_BYTES and not behaviour.chunk_bytes:
        behaviour = _with_framing(behaviour, "length")
    return _reply(status, headers, content_type, iter([(0.0, body, 1)]), behaviour, now)


def stream_reply(
    parts: Iterable[bytes], behaviour: Behaviour, now: float, *, status: int = 200, content_type: str = NDJSON
) -> Reply:
    """An answer of many records, each flushed by itself and paced."""
    pause = 1 / behaviour.tokens_per_second if behaviour.tokens_per_second else 0.0
    steps = ((pause if index else 0.0, part, 1) for index, part in enumerate(parts))
    return _reply(status, "", content_type, steps, behaviour, now)


def raw_reply(behaviour: Behaviour) -> Reply:
    """Bytes that a test wrote by hand."""
    steps: Iterator[Step] = iter([(behaviour.first_byte_seconds or 0.0, behaviour.raw or b"", 0)])
    return Reply(0, _written(steps, behaviour), behaviour.end or "close", whole=False)


def _with_framing(behaviour: Behaviour, framing: str) -> Behaviour:
    return Behaviour(framing=framing).over(behaviour)  # type: ignore[arg-type]  # the caller's word is one of Framing's


def _reply(status: int, headers: str, content_type: str, parts: Iterator[Step], behaviour: Behaviour, now: float) -> Reply:
    stop = behaviour.stop_after_records
    if stop is not None:
        parts = (step for _, step in zip(range(stop), parts, strict=False))
    parts = _rechunked(parts, behaviour)
    steps = _framed(status, headers, content_type, parts, behaviour, now)
    if behaviour.trailing is not None:
        steps = _followed(steps, behaviour.trailing)
    if behaviour.stop_after_bytes is not None:
        steps = _limited(steps, behaviour.stop_after_bytes)
    stopped = (
        stop is not None
        or behaviour.stop_after_bytes is not None
        or behaviour.framing in {"too_long", "unterminated", "bad_chunk"}
    )
    end: End = behaviour.end or ("close" if stopped or behaviour.framing == "close" else "keep")
    return Reply(status, _written(steps, behaviour), end, whole=not stopped)


def _rechunked(parts: Iterator[Step], behaviour: Behaviour) -> Iterator[Step]:
    if behaviour.without_last_newline:
        parts = _stripped(parts)
    if behaviour.records_per_chunk:
        parts = _merged(parts, behaviour.records_per_chunk)
    if behaviour.chunk_bytes:
        parts = _recut(parts, behaviour.chunk_bytes)
    return parts


def _stripped(parts: Iterator[Step]) -> Iterator[Step]:
    held: Step | None = None
    for step in parts:
        if held is not None:
            yield held
        held = step
    if held is not None:
        yield held[0], held[1].rstrip(b"\n"), held[2]


def _merged(parts: Iterator[Step], each: int) -> Iterator[Step]:
    pause, data, records = 0.0, b"", 0
    for step in parts:
        pause, data, records = pause + step[0], data + step[1], records + step[2]
        if records >= each:
            yield pause, data, records
            pause, data, records = 0.0, b"", 0
    if data:
        yield pause, data, records


def _recut(parts: Iterator[Step], size: int) -> Iterator[Step]:
    rest = b""
    for pause, data, records in parts:
        rest += data
        while len(rest) >= size:
            yield pause, rest[:size], records
            rest, pause, records = rest[size:], 0.0, 0
    if rest:
        yield 0.0, rest, 0


def _framed(
    status: int, headers: str, content_type: str, parts: Iterator[Step], behaviour: Behaviour, now: float
) -> Iterator[Step]:
    """Head and body. The head goes out with the first part, as in Ollama: nothing is sent before there is something to say."""
    framing = behaviour.framing or "chunked"
    first = behaviour.first_byte_seconds or 0.0
    if framing in {"length", "too_long", "too_short"}:
        yield from _with_length(status, headers, content_type, list(parts), behaviour, now)
        return
    length = "" if framing == "close" else "Transfer-Encoding: chunked\r\n"
    if framing == "both":
        length += "Content-Length: 5\r\n"
    head = _head(status, headers, content_type, length, behaviour, now)
    for index, (pause, data, records) in enumerate(parts):
        size = b"zz" if framing == "bad_chunk" and index == 1 else b"%x" % len(data)
        framed = data if framing == "close" else size + b"\r\n" + data + b"\r\n"
        yield first + pause, head + framed, records
        head, first = b"", 0.0
    if framing in {"chunked", "both"} and behaviour.stop_after_records is None:
        head += b"0\r\n\r\n"
    if head:
        yield first, head, 0


def _with_length(
    status: int, headers: str, content_type: str, parts: list[Step], behaviour: Behaviour, now: float
) -> Iterator[Step]:
    body = b"".join(data for _, data, _ in parts)
    length = len(body) + {"too_long": 100, "too_short": -min(10, len(body))}.get(behaviour.framing or "", 0)
    head = _head(status, headers, content_type, f"Content-Length: {length}\r\n", behaviour, now)
    first = behaviour.first_byte_seconds or 0.0
    if len(parts) <= 1:
        yield first, head + body, len(parts)
        return
    for pause, data, records in parts:
        yield first + pause, head + data, records
        head, first = b"", 0.0


def _followed(steps: Iterator[Step], trailing: bytes) -> Iterator[Step]:
    yield from steps
    yield 0.0, trailing, 0


def _limited(steps: Iterator[Step], most: int) -> Iterator[Step]:
    left = most
    for pause, data, records in steps:
        if left <= 0:
            return
        if len(data) > left:
            yield pause, data[:left], 0
            return
        left -= len(data)
        yield pause, data, records


def _written(steps: Iterator[Step], behaviour: Behaviour) -> Iterator[Step]:
    """How the bytes are handed to the socket: all at once, record by record, or in drops."""
    if behaviour.burst:
        taken = list(steps)
        return iter([(taken[0][0] if taken else 0.0, b"".join(s[1] for s in taken), sum(s[2] for s in taken))])
    if behaviour.write_bytes:
        return _dripped(steps, behaviour.write_bytes, behaviour.write_seconds or 0.0)
    return steps


def _dripped(steps: Iterator[Step], size: int, pause: float) -> Iterator[Step]:
    wait = 0.0
    for before, data, records in steps:
        wait = max(wait, before)
        for start in range(0, len(data), size):
            last = start + size >= len(data)
            yield wait, data[start : start + size], records if last else 0
            wait = pause


def _head(status: int, headers: str, content_type: str, length: str, behaviour: Behaviour, now: float) -> bytes:
    extra = "".join(f"{name}: {value}\r\n" for name, value in (behaviour.headers or {}).items())
    if behaviour.framing == "close":
        extra += "Connection: close\r\n"
    return _plain_head(status, headers + extra, behaviour.content_type or content_type, length, int(now))


@lru_cache(maxsize=256)
def _plain_head(status: int, headers: str, content_type: str, length: str, now: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = f"status code {status}"
    type_line = f"Content-Type: {content_type}\r\n" if content_type else ""
    date = email.utils.formatdate(now, usegmt=True)
    return f"HTTP/1.1 {status} {phrase}\r\n{headers}{type_line}Date: {date}\r\n{length}\r\n".encode("latin-1", "replace")
