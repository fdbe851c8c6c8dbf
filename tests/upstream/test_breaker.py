from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from upstream.raw import WITHIN

from tornado_gateway.errors import UpstreamUnavailable
from tornado_gateway.upstream.breaker import Breaker


class Probes:
    """Answers that a test gives, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.reached = False

    async def __call__(self) -> bool:
        self.asked += 1
        return self.reached


@pytest.fixture
def probes() -> Probes:
    return Probes()


@pytest.fixture
async def breaker(probes: Probes) -> AsyncIterator[Breaker]:
    breaker = Breaker(probes, failures=3, probe_every=0.01)
    yield breaker
    await breaker.close()


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not fact():  # noqa: ASYNC110  # a breaker tells nobody
            await asyncio.sleep(0)


async def test_one_failure_refuses_nobody(breaker: Breaker, probes: Probes) -> None:
    breaker.failed()
    breaker.failed()

    breaker.check()
    assert (breaker.open, probes.asked) == (False, 0)


async def test_failures_in_a_row_open_it(breaker: Breaker) -> None:
    for _ in range(3):
        breaker.failed()

    with pytest.raises(UpstreamUnavailable) as refused:
        breaker.check()
    assert refused.value.retry_after == 0.01


async def test_a_success_between_them_does_not(breaker: Breaker) -> None:
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()

    breaker.check()


async def test_it_probes_until_ollama_is_reached(breaker: Breaker, probes: Probes) -> None:
    for _ in range(4):
        breaker.failed()
    await until(lambda: probes.asked >= 3)
    assert breaker.open

    probes.reached = True

    await until(lambda: not breaker.open)
    asked = probes.asked
    breaker.failed()
    breaker.check()
    assert probes.asked == asked


async def test_a_success_closes_it(breaker: Breaker) -> None:
    for _ in range(3):
        breaker.failed()

    breaker.succeeded()

    breaker.check()


async def test_closed_for_good_it_probes_no_more(breaker: Breaker, probes: Probes) -> None:
    for _ in range(3):
        breaker.failed()

    await breaker.close()

    assert (breaker.open, probes.asked) == (False, 0)
