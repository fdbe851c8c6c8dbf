"""One coarse clock for everything that waits: a single timer for a client, never re-armed for a chunk.

What waits registers itself and is asked at each tick; between ticks, data that arrives costs one attribute, not a timer.
With nothing registered nothing ticks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

_FINEST = 0.01
_COARSEST = 0.25
_TICKS_PER_LIMIT = 40
"""A limit is kept to one part in forty, late, never early."""


class Waiting(Protocol):
    """What is asked at each tick."""

    def check(self, now: float) -> None:
        """Act if a limit has passed; `now` is the loop's time. May register and remove anything."""
        ...


def tick_for(limits: Iterable[float | None]) -> float:
    """Seconds between two ticks that suit the shortest of `limits`; None is no limit."""
    shortest = min((limit for limit in limits if limit is not None), default=_COARSEST * _TICKS_PER_LIMIT)
    return min(max(shortest / _TICKS_PER_LIMIT, _FINEST), _COARSEST)


class Clock:
    """Ticks while something waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tick: float) -> None:
        self._loop = loop
        self._tick = tick
        self._waiting: dict[Waiting, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, waiting: Waiting) -> None:
        self._waiting[waiting] = None
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick, self._on_tick)

    def discard(self, waiting: Waiting) -> None:
        self._waiting.pop(waiting, None)

    def stop(self) -> None:
        """Forget everything that waits."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        for waiting in [*self._waiting]:
            # What an earlier one removed in this tick has ended.
            if waiting in self._waiting:
                waiting.check(now)
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_later(self._tick, self._on_tick)
