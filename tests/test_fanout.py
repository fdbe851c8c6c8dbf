"""Several answers read as one."""

import asyncio

import pytest

from tornado_gateway.fanout import Source, merged
from tornado_gateway.wire.ollama import Record


async def answer(index: int, *texts: str, fails: Exception | None = None) -> Source:
    for text in texts:
        await asyncio.sleep(0)
        yield index, [Record(response=text)]
    if fails is not None:
        raise fails


async def test_each_batch_comes_with_the_index_of_its_source_in_its_order() -> None:
    found: dict[int, list[str]] = {0: [], 1: [], 2: []}

    async for index, batch in merged([answer(0, "a", "b"), answer(1, "c"), answer(2)], parallel=2):
        found[index] += [record.response for record in batch]

    assert found == {0: ["a", "b"], 1: ["c"], 2: []}


async def test_no_more_sources_than_allowed_are_read_at_a_time() -> None:
    running = most = 0

    async def counted() -> Source:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        yield 0, [Record()]
        running -= 1

    async for _ in merged([counted() for _ in range(6)], parallel=2):
        pass

    assert most == 2


async def test_the_first_failure_ends_all() -> None:
    closed = asyncio.Event()

    async def endless() -> Source:
        try:
            while True:
                await asyncio.sleep(0)
                yield 0, [Record()]
        finally:
            closed.set()

    with pytest.raises(ZeroDivisionError):
        async for _ in merged([endless(), answer(1, "a", fails=ZeroDivisionError())], parallel=2):
            pass

    assert closed.is_set()


async def test_closing_it_closes_every_source() -> None:
    closed = []

    async def endless(name: int) -> Source:
        try:
            while True:
                await asyncio.sleep(0)
                yield 0, [Record()]
        finally:
            closed.append(name)

    source = merged([endless(0), endless(1)], parallel=2)
    await anext(source)
    await anext(source)
    await source.aclose()

    assert sorted(closed) == [0, 1]
