"""Time limits that cost nothing where nobody waits."""

import asyncio
import time

import pytest

from tornado_gateway.budget import Meter, share_until, within


def meter() -> Meter:
    return Meter(10**12, lambda spent: None)


async def test_a_coroutine_that_does_not_wait_gives_its_result() -> None:
    async def quick() -> int:
        return 7

    assert await within(1, quick(), meter()) == 7


async def test_a_coroutine_that_waits_gives_its_result_and_may_catch_what_it_awaits() -> None:
    async def slow() -> list[int]:
        seen = []
        for number in range(3):
            await asyncio.sleep(0)
            seen.append(number)
        failing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(failing.set_exception, KeyError("x"))
        try:
            await failing
        except KeyError:
            seen.append(99)
        return seen

    assert await within(1, slow(), meter()) == [0, 1, 2, 99]


async def test_whoever_waits_is_counted_as_long_as_it_does() -> None:
    counting = meter()
    task = asyncio.ensure_future(within(1, asyncio.sleep(30), counting))
    await asyncio.sleep(0)
    assert counting.waiting == 1

    task.cancel()
    await asyncio.wait([task])

    assert counting.waiting == 0


def test_of_several_each_has_half_of_what_is_left() -> None:
    assert share_until(None, 5) == 5
    assert share_until(time.monotonic() + 100, 5) == 5
    assert 0.5 < share_until(time.monotonic() + 2, 5) <= 1
    assert share_until(time.monotonic() - 1, 5) == 0.01


async def test_an_exception_passes_through_before_and_after_a_wait() -> None:
    async def fails(waits: int) -> None:
        for _ in range(waits):
            await asyncio.sleep(0)
        raise ZeroDivisionError

    for waits in (0, 2):
        with pytest.raises(ZeroDivisionError):
            await within(1, fails(waits), meter())


async def test_waiting_for_too_long_is_a_timeout_and_the_coroutine_is_ended() -> None:
    ended = False

    async def endless() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    with pytest.raises(TimeoutError):
        await within(0.01, endless(), meter())
    assert ended


async def test_cancelling_the_caller_cancels_the_coroutine() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task = asyncio.ensure_future(within(10, endless(), meter()))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()


async def test_the_meter_counts_work_and_not_waits() -> None:
    slow: list[int] = []
    counting = Meter(2_000_000, slow.append)
    waited = asyncio.Event()

    async def works() -> None:
        _busy(0.003)
        asyncio.get_running_loop().call_later(0.05, waited.set)
        await waited.wait()
        _busy(0.001)

    await within(None, works(), counting)

    assert counting.calls == 1
    assert 0.004 <= counting.spent_ns / 1e9 < 0.05
    assert len(slow) == 1
    assert slow[0] == counting.longest_ns >= 3_000_000


def test_a_slow_stretch_is_told_also_behind_a_longer_one() -> None:
    slow: list[int] = []
    counting = Meter(10, slow.append)

    for spent in (5, 50, 20, 8, 10):
        counting.add(spent)

    assert (slow, counting.longest_ns, counting.spent_ns) == ([50, 20], 50, 93)


def _busy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


@pytest.mark.parametrize("waits", [0, 1])
async def test_a_plugin_cannot_end_the_process(waits: int) -> None:
    async def exits() -> None:
        for _ in range(waits):
            await asyncio.sleep(0)
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="end the process") as raised:
        await within(1, exits(), meter())
    assert raised.traceback[-1].name == "exits"


@pytest.mark.parametrize("done", [True, False])
async def test_a_task_of_the_plugins_own_that_was_cancelled_is_no_caller_who_has_left(done: bool) -> None:
    task = asyncio.ensure_future(asyncio.Event().wait())
    await asyncio.sleep(0)
    task.cancel()
    if done:
        await asyncio.wait([task])

    async def waits() -> None:
        await task

    with pytest.raises(RuntimeError, match="was cancelled"):
        await within(1, waits(), meter())
