"""The event loop of a process of ours, from its first turn to its last."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

from tornado_gateway.signals import Signals


def run_to_end(main: Callable[[Signals], Coroutine[Any, Any, int]]) -> int:
    """Run `main` with the process's signals; its exit code."""
    signals = Signals()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_with_signals(main, signals))
    finally:
        signals.stay()


async def _with_signals(main: Callable[[Signals], Coroutine[Any, Any, int]], signals: Signals) -> int:
    with signals:
        return await main(signals)


def settle_garbage() -> None:
    """What exists now stays, and requests leave no cycles behind: the collector need not look at the one, nor often for the other.

    Worth a tenth of the CPU of a request. For a process of our own only: it is not ours to say in somebody else's.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
