"""Several native answers read as one: which call a batch belongs to, and the batch, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from tornado_gateway.wire.ollama import Record

Batches = AsyncGenerator[Sequence[Record], None]
Source = AsyncGenerator[tuple[int, Sequence[Record]], None]


async def merged(sources: Sequence[Batches], parallel: int) -> Source:
    """The batches of all sources, each with its source's index; at most `parallel` sources are read at a time.

    The first failure ends all of them, and so does closing this generator: every source is closed when it ends.
    """
    if len(sources) == 1:
        async with aclosing(sources[0]) as batches:
            async for batch in batches:
                yield 0, batch
        return
    # One batch waits for each reader: a slow reader of this generator slows the sources down.
    arrived: asyncio.Queue[tuple[int, Sequence[Record]] | BaseException | None] = asyncio.Queue(parallel)
    turns = asyncio.Semaphore(parallel)
    tasks = [asyncio.ensure_future(_read(index, source, arrived, turns)) for index, source in enumerate(sources)]
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


async def _read(
    index: int,
    source: Batches,
    arrived: asyncio.Queue[tuple[int, Sequence[Record]] | BaseException | None],
    turns: asyncio.Semaphore,
) -> None:
    try:
        async with turns, aclosing(source) as batches:
            async for batch in batches:
                await arrived.put((index, batch))
    except Exception as error:  # noqa: BLE001  # raised again by the reader of the queue
        await arrived.put(error)
    else:
        await arrived.put(None)
