"""The line in front of Ollama: bounds, order, fairness, and that every place comes back."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from tornado_gateway_rate_limit_line import Gate, Line, Party, Patience, Refused

PATIENT = Patience(16, 256, 30.0)
HURRIED = Patience(16, 256, 0.01)


def own(tenant: str, limit: int = 1) -> Gate:
    return Gate(("tenant", tenant), limit, f"{tenant} may have {limit}")


def everybody(limit: int = 1) -> Gate:
    return Gate(("all",), limit, f"all may have {limit}")


async def spin(until: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not until():  # noqa: ASYNC110  # a turn of the loop at a time: there is no event for "so many wait"
            await asyncio.sleep(0)


def _note(served: list[int], number: int, _: object) -> None:
    served.append(number)


async def line_up(line: Line, count: int, tenant: str, *gates: Gate) -> list[asyncio.Task[Callable[[], None]]]:
    """So many requests that wait, in order."""
    tasks = []
    for _ in range(count):
        before = line.waiting
        tasks.append(asyncio.get_running_loop().create_task(line.enter(Party(tenant), gates, PATIENT)))
        await spin(lambda: line.waiting == before + 1)  # noqa: B023  # awaited within the same turn
    return tasks


async def test_a_place_that_is_free_is_given_at_once() -> None:
    line = Line()

    leave = await line.enter(Party("a"), [own("a")], PATIENT)

    assert line.running(("tenant", "a")) == 1
    leave()
    assert line.running(("tenant", "a")) == 0


async def test_first_come_is_first_served_within_a_tenant() -> None:
    line, served = Line(), list[int]()
    leave = await line.enter(Party("a"), [own("a")], PATIENT)
    tasks = await line_up(line, 5, "a", own("a"))
    for number, task in enumerate(tasks):
        task.add_done_callback(partial(_note, served, number))

    for task in tasks:
        leave()
        leave = await task
    leave()
    await asyncio.sleep(0)

    assert served == [0, 1, 2, 3, 4]


async def test_tenants_are_served_in_turn() -> None:
    """One who sends ten requests delays another's first by one, not by ten."""
    line, served = Line(), list[str]()
    leave = await line.enter(Party("x"), [everybody()], PATIENT)

    async def request(tenant: str) -> None:
        give_back = await line.enter(Party(tenant), [everybody()], PATIENT)
        served.append(tenant)
        give_back()

    async with asyncio.TaskGroup() as requests:
        for tenant in ["greedy"] * 10 + ["modest"] * 2:
            requests.create_task(request(tenant))
        await spin(lambda: line.waiting == 12)
        leave()

    assert served == ["greedy", "modest", "greedy", "modest"] + ["greedy"] * 8
    assert line.running(("all",)) == 0


async def test_a_wait_over_its_time_is_refused_with_a_time_to_come_back() -> None:
    line = Line()
    await line.enter(Party("a"), [own("a")], PATIENT)

    with pytest.raises(Refused) as refused:
        await line.enter(Party("a"), [own("a")], HURRIED)

    assert refused.value.waited
    assert refused.value.gate == own("a")
    assert 1 <= refused.value.retry_after <= 60
    assert line.waiting == 0


async def test_a_full_line_refuses_at_once() -> None:
    line = Line()
    await line.enter(Party("a"), [own("a")], PATIENT)
    tasks = await line_up(line, 16, "a", own("a"))

    with pytest.raises(Refused) as refused:
        await line.enter(Party("a"), [own("a")], PATIENT)

    assert not refused.value.waited
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert line.waiting == 0


async def test_the_line_of_all_tenants_is_bounded_too() -> None:
    line = Line()
    await line.enter(Party("a"), [everybody()], PATIENT)
    tasks = await line_up(line, 1, "b", everybody()) + await line_up(line, 1, "c", everybody())

    with pytest.raises(Refused):
        await line.enter(Party("d"), [everybody()], Patience(16, 2, 30.0))

    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_one_who_leaves_the_line_leaves_no_trace() -> None:
    line = Line()
    leave = await line.enter(Party("a"), [own("a")], PATIENT)
    first, second = await line_up(line, 2, "a", own("a"))

    first.cancel()
    await asyncio.wait([first])
    leave()

    (await second)()
    assert line.waiting == 0
    assert line.running(("tenant", "a")) == 0


async def test_a_place_that_comes_together_with_the_leaving_goes_to_the_next() -> None:
    line = Line()
    leave = await line.enter(Party("a"), [own("a")], PATIENT)
    first, second = await line_up(line, 2, "a", own("a"))

    leave()  # gives the place to the first
    first.cancel()  # who leaves before it has run

    (await asyncio.wait_for(second, 5))()
    assert first.cancelled()
    assert line.running(("tenant", "a")) == 0


async def test_a_place_is_given_back_once_however_often_it_is_given_back() -> None:
    line = Line()
    leave = await line.enter(Party("a"), [own("a", 2)], PATIENT)
    await line.enter(Party("a"), [own("a", 2)], PATIENT)

    leave()
    leave()

    assert line.running(("tenant", "a")) == 1


async def test_one_who_waits_at_his_own_gate_does_not_hold_up_others() -> None:
    line = Line()
    await line.enter(Party("a"), [own("a"), everybody(2)], PATIENT)
    (waiting,) = await line_up(line, 1, "a", own("a"), everybody(2))

    leave = await asyncio.wait_for(line.enter(Party("b"), [own("b"), everybody(2)], PATIENT), 5)

    assert not waiting.done()
    leave()
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_a_request_that_has_begun_is_not_refused_half_way() -> None:
    """Its later calls wait for its own earlier ones, as long as these take, and count as no further request."""
    line, party = Line(), Party("a")
    leave = await line.enter(party, [own("a")], HURRIED)
    second = asyncio.get_running_loop().create_task(line.enter(party, [own("a")], Patience(0, 0, 0.0)))
    await spin(lambda: line.waiting == 1)
    await asyncio.sleep(0.01)  # the wait's time is over: nothing must happen

    leave()

    (await asyncio.wait_for(second, 5))()


async def test_a_request_stands_in_line_once_with_all_its_calls() -> None:
    line, party = Line(), Party("a")
    leave = await line.enter(Party("a"), [own("a")], PATIENT)
    calls = [asyncio.get_running_loop().create_task(line.enter(party, [own("a")], Patience(1, 256, 30.0))) for _ in range(3)]
    await spin(lambda: line.waiting == 3)

    for call in calls:
        leave()
        leave = await asyncio.wait_for(call, 5)
    leave()

    assert line.running(("tenant", "a")) == 0


@pytest.mark.parametrize("seed", range(5))
async def test_places_come_back_exactly_after_every_mix_of_endings(seed: int) -> None:
    """C45: never more than four at once, never more than sixteen in line, nothing left behind."""
    chance, line, most = random.Random(seed), Line(), Counter[str]()
    gates = [own("a", 4), everybody(6)]

    async def request() -> str:
        patience = Patience(16, 256, chance.choice([0.001, 0.01, 5]))
        try:
            leave = await line.enter(Party("a"), gates, patience)
        except Refused:
            return "refused"
        try:
            most["running"] = max(most["running"], line.running(("tenant", "a")))
            most["waiting"] = max(most["waiting"], line.waiting)
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
            if chance.random() < 0.2:
                raise OSError("Ollama died")
        finally:
            leave()
        return "served"

    tasks = [asyncio.get_running_loop().create_task(request()) for _ in range(1000)]
    while not all(task.done() for task in tasks):
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)

    assert most["running"] == 4
    assert most["waiting"] <= 16
    assert line.waiting == 0
    assert line.running(("tenant", "a")) == line.running(("all",)) == 0
