from __future__ import annotations

import asyncio

import pytest
from upstream.raw import WITHIN

from tornado_gateway.upstream.timers import Clock, tick_for


class Counter:
    def __init__(self, clock: Clock, until: int, removes: Counter | None = None) -> None:
        self.ticks = 0
        self.reached = asyncio.Event()
        self._clock, self._until, self._removes = clock, until, removes

    def check(self, now: float) -> None:
        self.ticks += 1
        if self._removes is not None:
            self._clock.discard(self._removes)
        if self.ticks == self._until:
            self._clock.discard(self)
            self.reached.set()


@pytest.fixture
async def clock() -> Clock:
    return Clock(asyncio.get_running_loop(), 0.001)


@pytest.mark.parametrize(
    ("limits", "tick"), [((5, 300, 60, None), 0.125), ((2,), 0.05), ((0.1,), 0.01), ((None, 1000), 0.25), ((None,), 0.25)]
)
def test_the_tick_suits_the_shortest_limit(limits: tuple[float | None, ...], tick: float) -> None:
    assert tick_for(limits) == tick


async def test_what_waits_is_asked_until_it_is_removed(clock: Clock) -> None:
    counters = [Counter(clock, until) for until in (1, 3)]
    for counter in counters:
        clock.add(counter)

    async with asyncio.timeout(WITHIN):
        for counter in counters:
            await counter.reached.wait()

    assert [counter.ticks for counter in counters] == [1, 3]


async def test_what_was_removed_in_a_tick_is_not_asked_in_it(clock: Clock) -> None:
    second = Counter(clock, 1)
    first = Counter(clock, 1, removes=second)
    clock.add(first)
    clock.add(second)

    async with asyncio.timeout(WITHIN):
        await first.reached.wait()

    assert second.ticks == 0


async def test_a_clock_that_was_stopped_asks_nobody(clock: Clock) -> None:
    stopped = Counter(clock, 1)
    clock.add(stopped)
    clock.stop()
    other = Clock(asyncio.get_running_loop(), 0.001)
    later = Counter(other, 3)
    other.add(later)

    async with asyncio.timeout(WITHIN):
        await later.reached.wait()

    assert stopped.ticks == 0
