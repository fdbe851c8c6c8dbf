"""The core's events, and the warnings of Tornado and asyncio, on their way from Python's logging to the writers.

Of records that are not ours only the wording of the code is taken: their arguments quote requests, with keys and prompts in them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from cachetools import LRUCache

from tornado_gateway_logging_lines import Item
from tornado_gateway_logging_redaction import cleaned, exception_facts, short

OURS = "tornado_gateway"
THEIRS = ("tornado", "asyncio")
BURST = 5
PERIOD_SECONDS = 60.0
_PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-#0 +]*[\d.*]*[a-zA-Z]")
_REPR = re.compile(r"[(<\[{'\"].*", re.DOTALL)

Put = Callable[[Item, bool, bool], None]
"""Takes an item, and whether it is for the files and for the console."""


class EventHandler(logging.Handler):
    """Listens for one gateway. `directory` is where its files are: of those who write to the same, only one writes an event."""

    def __init__(self, put: Put, level: int, directory: str) -> None:
        super().__init__(level)
        self.directory = directory
        self._put_item = put
        self._damper = Damper()
        self._level_before = logging.NOTSET

    def attach(self) -> None:
        root = logging.getLogger(OURS)
        others = _handlers(root)
        self._level_before = others[0]._level_before if others else root.level
        for name in (OURS, *THEIRS):
            logging.getLogger(name).addHandler(self)
        self.set_level(self.level)

    def set_level(self, level: int) -> None:
        """Let events of this level and above through."""
        self.setLevel(level)
        root = logging.getLogger(OURS)
        root.setLevel(min(handler.level for handler in _handlers(root)))

    def redirect(self, put: Put, level: int, directory: str) -> None:
        """Go on with new outlets."""
        self._put_item, self.directory = put, directory
        self.set_level(level)

    def detach(self) -> None:
        for name in (OURS, *THEIRS):
            logging.getLogger(name).removeHandler(self)
        root = logging.getLogger(OURS)
        levels = [handler.level for handler in _handlers(root)]
        root.setLevel(min(levels) if levels else self._level_before)
        for item in self._damper.rest():
            self._put_item(item, True, True)

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name == OURS or record.name.startswith(f"{OURS}.")
        if not ours and (record.levelno < logging.WARNING or record.name == "tornado.access"):
            return  # tornado.access has a line per request, with its query; the plugin has its own
        try:
            self._hand_on(record, ours)
        except Exception:  # noqa: BLE001  # a record that cannot be told must not break what it tells of
            self.handleError(record)

    def _hand_on(self, record: logging.LogRecord, ours: bool) -> None:
        handlers = _handlers(logging.getLogger(OURS))
        files = next((handler for handler in handlers if handler.directory == self.directory), self) is self
        console = not handlers or handlers[0] is self
        if files or console:
            event, facts = _own(record) if ours else _foreign(record)
            if record.exc_info and record.exc_info[1] is not None:
                facts |= exception_facts(record.exc_info[1])
            item = self._damper.pass_on(Item(record.levelno, (event, record.created, record.levelno), facts))
            if item is not None:
                self._put_item(item, files, console)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Say that a record could not be told; the default would print it with its arguments."""
        facts = {"logger": record.name}
        self._put_item(Item(logging.ERROR, ("log_event_failed", record.created, logging.ERROR), facts), True, True)


class Damper:
    """Lets an event through a few times a minute and counts the rest; the count comes with the next one that is let through."""

    def __init__(self) -> None:
        self._seen: LRUCache[tuple[object, ...], tuple[float, int, Item]] = LRUCache(256)

    def pass_on(self, item: Item) -> Item | None:
        more = item.more or {}
        key = (item.values[0], item.level, more.get("logger"), more.get("plugin"), more.get("hook"))
        now = item.values[1]
        since, count, _ = self._seen.get(key, (now, 0, item))
        held_back = 0
        if not 0 <= now - since < PERIOD_SECONDS:
            held_back = max(0, count - BURST)
            since, count = now, 0
        self._seen[key] = (since, count + 1, item)
        if count >= BURST:
            return None
        return item._replace(more={**more, "repeated": held_back}) if held_back else item

    def rest(self) -> list[Item]:
        """The last of each event that was held back, with how often."""
        held = [(count - BURST, item) for _, count, item in self._seen.values() if count > BURST]
        return [item._replace(more={**(item.more or {}), "repeated": count}) for count, item in held]


def _handlers(logger: logging.Logger) -> list[EventHandler]:
    return [handler for handler in logger.handlers if isinstance(handler, EventHandler)]


def _own(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    facts = getattr(record, "facts", None)
    if not isinstance(facts, dict):
        return _foreign(record)
    return short(str(record.msg)) or "event", {"logger": record.name, **cleaned(facts)}


def _foreign(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """The first line of the wording, without what was filled in; and what comes after a bracket or a quote is somebody's `repr`."""
    wording = _PLACEHOLDER.sub("…", str(record.msg).partition("\n")[0]) if record.args else str(record.msg).partition("\n")[0]
    return _REPR.sub("…", wording)[:200] or "event", {"logger": record.name}
