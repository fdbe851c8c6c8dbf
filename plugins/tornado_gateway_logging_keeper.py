"""Lines of several workers in one log: the workers hand them over, the parent process writes them.

Two processes that write and rotate the same files would lose lines; so the files, and the console, have one owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from tornado_gateway.hookspecs import Keeper, ServerFacts, Shared
from tornado_gateway_logging_content import MOST_CHARACTERS
from tornado_gateway_logging_events import EventHandler
from tornado_gateway_logging_lines import Item
from tornado_gateway_logging_outlets import Outlets
from tornado_gateway_logging_requests import Ready
from tornado_gateway_logging_writer import Writer

if TYPE_CHECKING:
    from tornado_gateway_logging import Logging

_Plain = tuple[int, list[Any], dict[str, Any] | None]

Open = Callable[["Logging.Settings"], Awaitable[Outlets]]


class LogKeeper(Keeper):
    """Writes what the workers hand over, and the parent's own events. `level` is the least that the parent writes of its own."""

    def __init__(self, settings: Logging.Settings, level: Callable[[Logging.Settings], int], open_outlets: Open) -> None:
        self._settings = settings
        self._level = level
        self._open = open_outlets
        self._outlets = Outlets()
        self._handler: EventHandler | None = None

    async def start(self, server: ServerFacts) -> None:
        self._outlets = await self._open(self._settings)
        self._handler = EventHandler(self._outlets.put, self._level(self._settings), self._outlets.directory)
        self._handler.attach()

    async def reconfigure(self, settings: Logging.Settings) -> None:
        outlets, before = await self._open(settings), self._outlets
        self._outlets = outlets
        if self._handler:
            self._handler.redirect(outlets.put, self._level(settings), outlets.directory)
        await before.close(CLOSE_SECONDS)

    async def stop(self) -> None:
        if self._handler:
            self._handler.detach()
        await self._outlets.close(CLOSE_SECONDS)

    def lines(self, life: int, data: bytes) -> None:
        """Lines of a worker, as `ToParent` packs them."""
        for level, values, more in _decoder.decode(data):
            self._outlets.put(Item(level, tuple(values), more))


class ToParent:
    """A sink (see the writer) whose other end is the parent. `worker` is told with events, so that one knows whose they are."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._batch: list[_Plain] = []
        self._lost = self._told = 0
        """How many lines the parent did not take, and how many of them it has been told."""

    def add(self, item: Item | Ready) -> None:
        assert isinstance(item, Item)  # noqa: S101  # a worker makes no lines
        more = dict(item.more) if item.more else {}
        content = more.pop("content", None)
        if content is not None:
            more["prompt"], more["answer"] = _cut(content.prompt()), _cut(content.answer())
        if not item.is_request:
            more["worker"] = self._shared.worker
        self._batch.append((item.level, list(item.values), more or None))

    def flush(self) -> None:
        if self._lost > self._told:
            lost, self._told = self._lost - self._told, self._lost
            facts = {"count": lost, "reason": "the parent process did not take them"}
            self.add(Item(logging.WARNING, ("log_lines_dropped", time.time(), logging.WARNING), facts))
        batch, self._batch = self._batch, []
        frame: list[msgspec.Raw] = []
        size = 0
        for line in map(_encoder.encode, batch):
            if frame and size + len(line) > _FRAME_BYTES:
                self._send(frame)
                frame, size = [], 0
            frame.append(msgspec.Raw(line))
            size += len(line)
        if frame:
            self._send(frame)

    def _send(self, frame: list[msgspec.Raw]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._tell, _encoder.encode(frame), len(frame))

    def _tell(self, data: bytes, count: int) -> None:
        """On the loop, to which the channel belongs. It is full when the parent has not read for very long."""
        if not self._shared.tell("lines", data):
            self._lost += count

    def close(self) -> None:
        """The channel is the process's."""


def to_parent(shared: Shared) -> Outlets:
    """Outlets of a worker: everything goes to the parent, which knows where files and console are."""
    return Outlets(files=Writer("parent", ToParent(shared)))


def _cut(text: str | None) -> str | None:
    return text and text[:MOST_CHARACTERS]


_FRAME_BYTES = 1024 * 1024
"""Of lines that are sent together; one alone is never longer than its words may be."""

CLOSE_SECONDS = 2.0
"""How long what waits may take to be written at the end."""

_encoder = msgspec.msgpack.Encoder(enc_hook=lambda value: type(value).__name__)
_decoder = msgspec.msgpack.Decoder(list[_Plain])
