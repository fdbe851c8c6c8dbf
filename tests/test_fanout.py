"""The native calls of one request, side by side."""

import asyncio

import pytest

from tornado_gateway.fanout import together


async def test_all_are_run_to_their_ends() -> None:
    ended: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        ended.append(number)

    await together([work(number) for number in range(5)], parallel=2)

    assert sorted(ended) == [0, 1, 2, 3, 4]


async def test_no_more_than_allowed_are_at_work_at_a_time() -> None:
    running = most = 0

    async def counted() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await together([counted() for _ in range(6)], parallel=2)

    assert most == 2


async def test_the_first_failure_ends_all_and_is_raised_behind_their_ends() -> None:
    closed = asyncio.Event()
    never = asyncio.Event()

    async def endless() -> None:
        try:
            await never.wait()
        finally:
            await asyncio.sleep(0)
            closed.set()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await together([endless(), fails()], parallel=2)

    assert closed.is_set()


async def test_one_that_has_no_turn_before_the_failure_is_never_begun() -> None:
    begun = False

    async def fails() -> None:
        raise ZeroDivisionError

    async def late() -> None:
        nonlocal begun
        begun = True

    with pytest.raises(ZeroDivisionError):
        await together([fails(), late()], parallel=1)

    assert not begun


async def test_whoever_is_cancelled_has_ended_all() -> None:
    closed: list[int] = []
    at_work = asyncio.Event()
    never = asyncio.Event()

    async def endless(number: int) -> None:
        try:
            if number == 1:
                at_work.set()
            await never.wait()
        finally:
            closed.append(number)

    task = asyncio.create_task(together([endless(0), endless(1)], parallel=2))
    await at_work.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(closed) == [0, 1]
