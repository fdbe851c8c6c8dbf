"""The thread that writes, behind a queue that never makes the event loop wait.

When what is written to stalls, the queue fills, and what no longer fits is counted and dropped; when it fails, what is not written
yet is kept and tried again. Both are told in the log as soon as it can be written.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from tornado_gateway_logging_lines import Item
from tornado_gateway_logging_redaction import named
from tornado_gateway_logging_requests import Ready

MOST_WAITING = 10_000
MOST_AT_ONCE = 500
GATHER_SECONDS = 0.25
"""Lines that come within this time are written together.

Each time the thread asks for the interpreter the loop wakes it in vain, at every event that it handles, for up to 5 ms: about six times a batch.
"""
RETRY_SECONDS = 1.0

Tell = Callable[[str, dict[str, object]], None]


class Sink(Protocol):
    """What lines are written to. Used by one thread only."""

    def add(self, item: Any) -> None:
        """Prepare a line: of an `Item`, or one that is `Ready`."""

    def flush(self) -> None:
        """Write what is prepared. Raises OSError, and keeps what it could not write."""

    def close(self) -> None: ...


class Writer:
    """One sink, its queue and its thread. `tell` is told of trouble, so that another sink can say it."""

    def __init__(self, name: str, sink: Sink, tell: Tell | None = None, most_waiting: int = MOST_WAITING) -> None:
        self.dropped = 0
        self.failures = 0
        self._sink = sink
        self._tell = tell
        self._most_waiting = most_waiting
        self._queue: queue.SimpleQueue[Item | Ready | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        # A daemon: a terminal that takes nothing must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"tornado-gateway-log-{name}", daemon=True)
        self._thread.start()

    def put(self, item: Item | Ready) -> None:
        """Hand over a line. Never waits."""
        if self._queue.qsize() < self._most_waiting:
            self._queue.put(item)
        else:
            self.dropped += 1

    def close(self, seconds: float) -> bool:
        """Write what waits and stop, within the given time; whether all was written. Blocks: call it in a thread."""
        self._queue.put(None)
        self._closing.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        reported = 0
        last = False
        while not last:
            last = self._gather()
            self._flush()
            if self.dropped > reported:
                reported, lost = self.dropped, self.dropped - reported
                self._sink.add(
                    _event("log_lines_dropped", {"count": lost, "reason": "the log could not be written fast enough"})
                )
                self._flush()
        self._sink.close()

    def _gather(self) -> bool:
        """Prepare what waits, at least one line; whether it was the last."""
        item = self._queue.get()
        if self._queue.qsize() < MOST_AT_ONCE:  # else it is behind, and would lose lines while it waits for more
            self._closing.wait(GATHER_SECONDS)
        for _ in range(MOST_AT_ONCE):
            if item is None:
                return True
            self._prepare(item)
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return False
        if item is not None:
            self._prepare(item)
        return item is None

    def _prepare(self, item: Item | Ready) -> None:
        try:
            self._sink.add(item)
        except Exception as error:  # noqa: BLE001  # one line that cannot be made must not end all others
            self._sink.add(_event("log_line_failed", {"exception_type": named(error)}))

    def _flush(self) -> None:
        failed = 0
        while True:
            try:
                self._sink.flush()
                break
            except OSError as error:
                failed += 1
                self.failures += 1
                if failed == 1 and self._tell:
                    self._tell("log_not_written", {"reason": named(error)})
                if self._closing.wait(RETRY_SECONDS):
                    return
        if failed:
            self._sink.add(_event("log_written_again", {"failures": failed}))


def _event(name: str, facts: dict[str, object]) -> Item:
    return Item(logging.WARNING, (name, time.time(), logging.WARNING), facts)
