"""The signals of a serving process, as events: SIGTERM and SIGINT stop it, a second one does not wait, SIGHUP re-reads the configuration."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Awaitable, Iterator
from typing import Self, TypeVar

AT_ONCE_SECONDS = 0.8
"""How long the way out may take after a second signal."""

_STOPS = (signal.SIGTERM, signal.SIGINT)
_HANG_UP = frozenset({signal.SIGHUP})

T = TypeVar("T")


def be_quiet_until_served() -> None:
    """Until the loop runs, a signal to stop ends the process at once, with nothing to put away and no traceback to show.

    SIGHUP waits for the loop: the configuration may have been read already, and changed since. By default it would end the process.
    """
    for number in _STOPS:
        signal.signal(number, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANG_UP)


@contextlib.contextmanager
def hang_up_waits() -> Iterator[None]:
    """A process that is started in this block is as quiet about SIGHUP from its first moment: the signal waits until it serves."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANG_UP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Signals:
    """The signals of this process, from `with` on. Once it was told to stop, it does not listen to further signals after the block."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.at_once = asyncio.Event()
        self.hang_up = asyncio.Event()
        self.ends_at: float | None = None
        """The moment at which `end_within` ends the process, by `time.monotonic`."""
        self._told = False
        self._last: threading.Timer | None = None

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in _STOPS:
            loop.add_signal_handler(number, self._told_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self.hang_up.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANG_UP)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (*_STOPS, signal.SIGHUP):
            loop.remove_signal_handler(number)
            if self.stop.is_set():
                signal.signal(number, signal.SIG_IGN)

    def stop_at_once(self) -> None:
        """As if two signals had come."""
        if not self.at_once.is_set():
            self.at_once.set()
            self.end_within(AT_ONCE_SECONDS)
        self.stop.set()

    def end_within(self, seconds: float) -> None:
        """End the process when it has not ended by itself by then, whatever holds it up: a blocked loop, a thread, a disk.

        A shorter time beats one that was given before.
        """
        self.stay()
        self.ends_at = time.monotonic() + seconds
        self._last = threading.Timer(seconds, os._exit, (0,))
        self._last.daemon = True
        self._last.start()

    def stay(self) -> None:
        """Take `end_within` back."""
        if self._last is not None:
            self._last.cancel()

    def _told_to_stop(self) -> None:
        if self._told:
            self.stop_at_once()
        self._told = True
        self.stop.set()


async def unless(event: asyncio.Event, work: Awaitable[T]) -> T | None:
    """What `work` gives; None when the event comes first, and then the work has been cancelled and has ended."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            return None
        return task.result()
    finally:
        waiting.cancel()
        task.cancel()
