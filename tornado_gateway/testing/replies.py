"""Answers to steps: pace, and where the bytes are cut. Pure generators, one laid over the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from tornado_gateway.testing.behaviour import Behaviour, End, Framing
from tornado_gateway.testing.framing import UNENDED, WITH_LENGTH, Head, Step, framed

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
    """0: the bytes are not ours to say."""
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
    """An answer that is one body. `headers` are whole lines."""
    head = _head(status, content_type, headers, behaviour, now)
    if head_only:
        return Reply(status, iter([(behaviour.first_byte_seconds or 0.0, head.bytes(f"Content-Length: {len(body)}\r\n"), 0)]))
    small = len(body) <= _UNCHUNKED_BYTES and not behaviour.chunk_bytes
    return _reply(head, iter([(0.0, body, 1)]), behaviour, "length" if small else "chunked")


def stream_reply(
    parts: Iterable[bytes], behaviour: Behaviour, now: float, *, status: int = 200, content_type: str = NDJSON
) -> Reply:
    """An answer of many records, each flushed by itself and paced."""
    pause = 1 / behaviour.tokens_per_second if behaviour.tokens_per_second else 0.0
    steps = ((pause if index else 0.0, part, 1) for index, part in enumerate(parts))
    return _reply(_head(status, content_type, "", behaviour, now), steps, behaviour, "chunked")


def raw_reply(behaviour: Behaviour) -> Reply:
    """Bytes that a test wrote by hand."""
    steps: Iterator[Step] = iter([(behaviour.first_byte_seconds or 0.0, behaviour.raw or b"", 0)])
    return Reply(0, _written(steps, behaviour), behaviour.end or "close", whole=False)


def _head(status: int, content_type: str, headers: str, behaviour: Behaviour, now: float) -> Head:
    if behaviour.headers:
        headers += "".join(f"{name}: {value}\r\n" for name, value in behaviour.headers.items())
    if behaviour.framing == "close":
        headers += "Connection: close\r\n"
    return Head(status, behaviour.content_type or content_type, headers, now)


def _reply(head: Head, parts: Iterator[Step], behaviour: Behaviour, usual: Framing) -> Reply:
    framing = behaviour.framing or usual
    stop = behaviour.stop_after_records
    length = None
    if framing in WITH_LENGTH:
        # The head tells the length of the whole answer, whatever of it is sent.
        whole = list(_stripped(parts) if behaviour.without_last_newline else parts)
        parts, length = iter(whole), sum(len(data) for _, data, _ in whole)
    if stop is not None:
        parts = islice(parts, stop)
    parts = _rechunked(parts, behaviour)
    steps = framed(head, parts, framing, behaviour.first_byte_seconds or 0.0, length=length, ended=stop is None)
    if behaviour.trailing is not None:
        steps = _followed(steps, behaviour.trailing)
    if behaviour.stop_after_bytes is not None:
        steps = _limited(steps, behaviour.stop_after_bytes)
    stopped = stop is not None or behaviour.stop_after_bytes is not None or framing in UNENDED
    end = behaviour.end or ("close" if stopped or framing == "close" else "keep")
    return Reply(head.status, _written(steps, behaviour), end, whole=not stopped)


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
    """Chunks of one size; a record counts with the chunk that holds its last byte."""
    rest, waiting, silence = b"", 0, 0.0
    for pause, data, records in parts:
        rest, waiting, silence = rest + data, waiting + records, silence + pause
        while len(rest) >= size:
            chunk, rest = rest[:size], rest[size:]
            yield silence, chunk, 0 if rest else waiting
            silence, waiting = 0.0, waiting if rest else 0
    if rest:
        yield silence, rest, waiting


def _followed(steps: Iterator[Step], trailing: bytes) -> Iterator[Step]:
    """In the same write as the answer's last bytes, so that no reader can take one without the other."""
    held = (0.0, b"", 0)
    for index, step in enumerate(steps):
        if index:
            yield held
        held = step
    yield held[0], held[1] + trailing, held[2]


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
        pause = taken[0][0] if taken else 0.0
        return iter([(pause, b"".join(step[1] for step in taken), sum(step[2] for step in taken))])
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
