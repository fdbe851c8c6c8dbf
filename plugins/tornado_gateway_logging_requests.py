"""The line of an ordinary request, made at once: the same JSON and the same words as in `tornado_gateway_logging_lines`, at a fraction of the cost.

Made by whoever hands the line over, not by the writer's thread: on one interpreter a thread that makes lines takes turns with the event loop, and the
turns cost several times what the line does. What is long, as prompts and answers are, is left to the thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from tornado_gateway_logging_lines import (
    REQUEST_FIELDS,
    SAID_FIRST,
    Item,
    fit,
    human_lines,
    in_colours,
    json_line,
    line_of,
    time_of_day,
    timestamp,
)
from tornado_gateway_logging_redaction import redacted, short

_MORE = ("user", "requested_model")
"""What such a line may say behind the fields of all: short, and a client's."""

_Line = msgspec.defstruct("_Line", [*REQUEST_FIELDS, *((name, Any, UNSET) for name in _MORE)])
_encoder = msgspec.json.Encoder()

_REST = tuple(name for name in REQUEST_FIELDS if name not in SAID_FIRST)
_rest = itemgetter(*(REQUEST_FIELDS.index(name) for name in _REST))
_first = itemgetter(*(REQUEST_FIELDS.index(name) for name in ("method", "path", "status", "ended", "duration_ms")))


class Ready(NamedTuple):
    """A line as it will be written; None where nobody wants it."""

    level: int
    json: str | None
    console: str | None


Make = Callable[[Item], Item | Ready]


def maker(*, files: bool, console: str, colours: bool) -> Make:
    """A function that makes the line of an ordinary request for these places, and leaves everything else as it is.

    `console` is `human`, `json` or `off`.
    """
    words = human_lines(colours)

    def make(item: Item) -> Item | Ready:
        if item.values[0] != "request" or not _is_short(item.more):
            return item
        values, more = fit(item), {name: redacted(text) for name, text in (item.more or {}).items()}
        json = _json(item, values, more) if files or console == "json" else None
        human = None
        if console == "human":
            human = _human(values, more, colours) or words(line_of(item))
        return Ready(item.level, json if files else None, json if console == "json" else human)

    return make


def _is_short(more: Mapping[str, Any] | None) -> bool:
    return not more or all(name in _MORE and text == short(text) for name, text in more.items())


def _json(item: Item, values: list[Any], more: Mapping[str, str]) -> str:
    written = values.copy()
    written[1] = timestamp(values[1])
    try:
        line = _encoder.encode(_Line(*written, **more))
    except UnicodeEncodeError:  # a lone surrogate
        return json_line(line_of(item))
    return line.decode("ascii") if line.isascii() else json_line(line_of(item))


def _human(values: list[Any], more: Mapping[str, str], colours: bool) -> str | None:
    """None when something in it cannot be printed: rare, and not made quickly."""
    method, path, status, ended, duration = _first(values)
    happened = f"{method} {path} {status} {ended} {duration} ms"
    rest = " ".join([f"{name}={value}" for name, value in zip(_REST, _rest(values), strict=True) if value is not None])
    for name in more:
        rest = f"{rest} {name}={more[name]}"
    if not (happened.isprintable() and rest.isprintable()):
        return None
    return in_colours(time_of_day(int(values[1])), values[2], happened, rest, colours)
