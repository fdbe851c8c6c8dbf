"""From what happened to a line: the fields of a request's line, JSON for files, words for people.

Runs in the writer's threads. What came in by a client is cut, redacted and escaped, so that it is never more than one line.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from structlog.dev import ConsoleRenderer
from structlog.processors import JSONRenderer

from tornado_gateway_logging_content import MOST_CHARACTERS
from tornado_gateway_logging_redaction import redacted

REQUEST_FIELDS = (
    "event",
    "time",
    "level",
    "request_id",
    "key",
    "client",
    "method",
    "path",
    "status",
    "model",
    "upstream",
    "stream",
    "cache",
    "queue_ms",
    "first_byte_ms",
    "duration_ms",
    "prompt_tokens",
    "completion_tokens",
    "load_ms",
    "ended",
    "error",
)
"""The names and their order are a promise to whoever reads the files."""

FROM_CLIENT = ("request_id", "method", "path", "model", "requested_model", "user", "prompt", "answer")
IN_MILLISECONDS = ("queue_ms", "first_byte_ms", "duration_ms", "load_ms")
_COLOURS = {"INFO": "\033[32m", "WARNING": "\033[33m", "ERROR": "\033[31m"}
_SAID_FIRST = frozenset({"event", "time", "level", "method", "path", "status", "ended", "duration_ms"})
_RESET, _DIM = "\033[0m", "\033[2m"

Line = dict[str, Any]


class Item(NamedTuple):
    """Something to write, as cheap as it can be handed over; the thread makes a line of it."""

    level: int
    values: tuple[Any, ...]
    """For a request the values of `REQUEST_FIELDS`, for an event `(event, time, level)`."""
    more: Mapping[str, Any] | None = None
    """What else the line says, after these; `content` is a `Content`, which becomes `prompt` and `answer`."""

    @property
    def is_request(self) -> bool:
        return bool(self.values[0] == "request")


def line_of(item: Item) -> Line:
    """The line's fields, in order; the time is still in seconds since the epoch."""
    line: Line = dict(zip(REQUEST_FIELDS, item.values, strict=False))
    line["level"] = logging.getLevelName(item.level)
    if item.more:
        for name, value in item.more.items():
            line.setdefault(name, value)
    return _request_line(line) if item.is_request else line


def _request_line(line: Line) -> Line:
    content = line.pop("content", None)
    if content is not None:
        line["prompt"], line["answer"] = content.prompt(), content.answer()
    for name in FROM_CLIENT:
        if value := line.get(name):
            line[name] = redacted(value[:MOST_CHARACTERS])
    for name in IN_MILLISECONDS:
        if value := line.get(name):
            line[name] = round(value, 2)
    return line


def _serialised(line: Any, **_: Any) -> str:
    """One line of ASCII: U+2028 and its like would be line ends to some readers, so they are escaped too."""
    try:
        fast = msgspec.json.encode(line)
        if fast.isascii():
            return fast.decode("ascii")
    except (TypeError, UnicodeEncodeError):  # a lone surrogate, or no plain data: the slower encoder takes both
        pass
    return json.dumps(line, separators=(",", ":"), default=lambda value: type(value).__name__)


_as_json = JSONRenderer(serializer=_serialised)


@lru_cache(maxsize=8)  # a second has many lines
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def json_line(line: Line) -> str:
    second, microseconds = divmod(round(line["time"] * 1e6), 1_000_000)
    rendered = _as_json(None, "", {**line, "time": f"{_second(second)}.{microseconds // 1000:03}Z"})
    return rendered if isinstance(rendered, str) else rendered.decode()


def human_lines(colours: bool) -> Callable[[Line], str]:
    """A renderer for a terminal, or for a pipe without colours."""
    events = ConsoleRenderer(colors=colours, sort_keys=False, timestamp_key="time")

    def render(line: Line) -> str:
        moment = _time_of_day(int(line["time"]))
        if line["event"] == "request":
            return _human_request(line, moment, colours)
        known = {name: value for name, value in line.items() if value is not None}
        return events(None, "", {**_all_printable(known), "time": moment, "level": line["level"].lower()})

    return render


def _human_request(line: Line, moment: str, colours: bool) -> str:
    """What happened first, then the rest as `name=value`. ConsoleRenderer would cost twenty times as much."""
    happened, rest = _words(line)
    if not (happened.isprintable() and rest.isprintable()):
        happened, rest = _words(_all_printable(line))
    level = f"{line['level']:<7}"
    if colours:
        level = f"{_COLOURS.get(line['level'], '')}{level}{_RESET}"
    head = f"{moment} {level} {happened}"
    return f"{head}  {_DIM}{rest}{_RESET}" if colours else f"{head}  {rest}"


def _words(line: Line) -> tuple[str, str]:
    happened = f"{line['method']} {line['path']} {line['status']} {line['ended']} {line['duration_ms']} ms"
    rest = [f"{name}={value}" for name, value in line.items() if value is not None and name not in _SAID_FIRST]
    return happened, " ".join(rest)


@lru_cache(maxsize=8)
def _time_of_day(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))


def _all_printable(line: Line) -> Line:
    return {name: _printable(value) for name, value in line.items()}


def _printable(value: Any) -> Any:
    """Text that cannot move the cursor or start a line of its own."""
    if isinstance(value, str) and not value.isprintable():
        return value.encode("unicode_escape", "backslashreplace").decode("ascii")
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return value
