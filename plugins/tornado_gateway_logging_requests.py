"""The line of an ordinary request, made by whoever hands it over, not by the writer's thread.

On one interpreter a thread that makes lines takes turns with the event loop, and the turns cost several times what the line does. What may be
long, as prompts and answers are, is left to the thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tornado_gateway_logging_lines import Item, human_lines, json_line, line_of
from tornado_gateway_logging_redaction import MOST_CHARACTERS

_SHORT = ("user", "requested_model")
"""What such a line may say behind the fields of all."""


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
        if not item.is_request or not _is_short(item.more):
            return item
        line = line_of(item)
        json = json_line(line) if files or console == "json" else None
        shown = words(line) if console == "human" else json if console == "json" else None
        return Ready(item.level, json if files else None, shown)

    return make


def _is_short(more: Mapping[str, Any] | None) -> bool:
    return not more or all(name in _SHORT and len(text) <= MOST_CHARACTERS for name, text in more.items())
