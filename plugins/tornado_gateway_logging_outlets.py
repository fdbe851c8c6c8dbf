"""The places that lines go to, as one: files and the console, each with a thread of its own, so that a stalled terminal stops no file.

The lines of requests are made some at a time: one after another they cost half of what each costs between two requests, when all that
makes it has left the processor's caches.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tornado_gateway_logging_files import Console, Files
from tornado_gateway_logging_lines import Item, human_lines, json_line
from tornado_gateway_logging_requests import Make, Ready, maker
from tornado_gateway_logging_writer import Writer

MADE_AT_ONCE = 32
MADE_AFTER_SECONDS = 0.05


def _as_it_is(item: Item) -> Item | Ready:
    return item


@dataclass(slots=True)
class Outlets:
    """Where one gateway writes. Without files and console it is a place where nothing is written."""

    files: Writer | None = None
    console: Writer | None = None
    directory: str = ""
    make: Make = _as_it_is
    """Makes lines of what is handed over, where that is not left to the threads."""
    _requests: deque[Item] = field(default_factory=deque)
    """Whose lines are not made yet."""
    _timer: asyncio.TimerHandle | None = None

    @classmethod
    def open(cls, directory: Path | None, console: str, max_bytes: int, backups: int) -> Outlets:
        """Open what is wanted. Raises OSError when the files cannot be written. Blocks: call it in a thread."""
        sink = Files(directory, max_bytes, backups) if directory else None
        shown, kind, colours = _console(console)
        talk = Writer("console", shown) if shown else None
        files = Writer("files", sink, lambda event, facts: _tell(talk, event, facts)) if sink else None
        make = maker(files=files is not None, console=kind, colours=colours)
        return cls(files, talk, str(directory.resolve()) if directory else "", make)

    def put(self, item: Item, files: bool = True, console: bool = True) -> None:
        """Hand a line over, behind those that were there before. Never waits. A request's comes from within the loop."""
        if not item.is_request:
            self._make_lines()
            self._put(item, files, console)
            return
        self._requests.append(item)
        if len(self._requests) >= MADE_AT_ONCE:
            self._make_lines()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(MADE_AFTER_SECONDS, self._due)

    def _due(self) -> None:
        self._timer = None
        self._make_lines()

    def _make_lines(self) -> None:
        while self._requests:
            try:
                item = self._requests.popleft()
            except IndexError:  # an event may come from any thread: another one has taken it
                return
            self._put(item)

    def _put(self, item: Item, files: bool = True, console: bool = True) -> None:
        made = self.make(item)
        if files and self.files:
            self.files.put(made)
        if console and self.console:
            self.console.put(made)

    async def close(self, seconds: float) -> None:
        """Write what waits, as far as the time allows."""
        # Here and not in the thread: a line that the timer takes meanwhile would come behind the writers' end.
        if self._timer is not None:
            self._timer.cancel()
        self._make_lines()
        await asyncio.to_thread(self._close, seconds)

    def _close(self, seconds: float) -> None:
        if self.files:
            self.files.close(seconds)
        if self.console:
            self.console.close(seconds / 2)


def _tell(console: Writer | None, event: str, facts: dict[str, Any]) -> None:
    if console:
        console.put(Item(logging.ERROR, (event, time.time(), logging.ERROR), facts))


def _console(kind: str) -> tuple[Console | None, str, bool]:
    """The console, whether it speaks `json` or is for a `human` or `off`, and whether in colours."""
    stream = sys.stdout if kind == "json" else sys.stderr
    if kind == "off" or stream is None:
        return None, "off", False
    if kind == "json":
        return Console(stream, json_line), kind, False
    colours = kind == "auto" and stream.isatty() and not os.environ.get("NO_COLOR")
    return Console(stream, human_lines(colours)), "human", colours
