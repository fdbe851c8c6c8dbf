"""Several native answers read as one: which call a batch belongs to, and the batch, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from tornado_gateway.wire.ollama import Record

Item = tuple[int, Sequence[Record]]
"""Which native call a batch belongs to, and the batch."""

Source = AsyncGenerator[Item, None]


def merged(sources: Sequence[Source], parallel: int) -> Source:
    """The items of all sources; at most `parallel` sources are read at a time.

    The first failure ends all of them, and so does closing this generator: every source is closed when it ends.
    """
    return sources[0] if len(sources) == 1 else _merged(sources, parallel)


async def _merged(sources: Sequence[Source], parallel: int) -> Source:
    # One batch waits for each reader: a slow reader of this generator slows the sources down.
    arrived: asyncio.Queue[Item | BaseException | None] = asyncio.Queue(parallel)
    turns = asyncio.Semaphore(parallel)
    tasks = [asyncio.ensure_future(_read(source, arrived, turns)) for source in sources]
    try:
        running = len(tasks)
        while running:
            item = await arrived.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(source: Source, arrived: asyncio.Queue[Item | BaseException | None], turns: asyncio.Semaphore) -> None:
    try:
        async with turns, aclosing(source) as items:
            async for item in items:
                await arrived.put(item)
    except Exception as error:  # noqa: BLE001  # raised again by the reader of the queue
        await arrived.put(error)
    else:
        await arrived.put(None)
