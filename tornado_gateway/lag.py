"""How late the event loop is: a coarse clock in the loop that notices when its own timer fires too late.

A loop that is late is late for everybody: something has computed or waited in it. The monitor says how long, not who.
"""

from __future__ import annotations

import asyncio

from tornado_gateway.log import get_logger

ALARM_SECONDS = 0.1
_EVERY_SECONDS = 0.05
_QUIET_SECONDS = 10.0

_log = get_logger(__name__)


class LoopLag:
    """Runs from `start` to `close`. A warning tells the worst of the last seconds when it is over 100 ms."""

    def __init__(self) -> None:
        self.last_seconds = 0.0
        self.worst_seconds = 0.0
        """Since `start`, or since it was set to 0."""
        self.alarms = 0
        """How often it was over 100 ms."""
        self._unsaid = 0
        self._unsaid_worst = 0.0
        self._quiet_until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + _EVERY_SECONDS
        self._timer = self._loop.call_at(self._due, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        self.last_seconds = max(0.0, now - self._due)
        self.worst_seconds = max(self.worst_seconds, self.last_seconds)
        if self.last_seconds > ALARM_SECONDS:
            self.alarms += 1
            self._unsaid += 1
            self._unsaid_worst = max(self._unsaid_worst, self.last_seconds)
        if self._unsaid and now >= self._quiet_until:
            _log.warning("loop_late", worst_ms=round(self._unsaid_worst * 1000), times=self._unsaid)
            self._unsaid, self._unsaid_worst, self._quiet_until = 0, 0.0, now + _QUIET_SECONDS
        self._due = now + _EVERY_SECONDS
        self._timer = self._loop.call_at(self._due, self._look)
