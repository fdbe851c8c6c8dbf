"""The native calls of one request, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any


async def together(works: Sequence[Coroutine[Any, Any, None]], parallel: int) -> None:
    """Run all of them, at most `parallel` at a time, and wait for their ends. The first failure ends the others, and is raised."""
    turns = asyncio.Semaphore(parallel)
    tasks = [asyncio.ensure_future(_in_turn(work, turns)) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for work in works:
            work.close()  # nothing, but for one that never had its turn


async def _in_turn(work: Coroutine[Any, Any, None], turns: asyncio.Semaphore) -> None:
    await turns.acquire()
    await work
    turns.release()  # not behind a failure: nothing more is to begin then
