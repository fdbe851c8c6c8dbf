import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import pytest
from processes import until

from tornado_gateway.hookspecs import SharedUnavailable
from tornado_gateway_rate_limit_keeper import LimitKeeper, SharedLine, SharedMeters
from tornado_gateway_rate_limit_line import Gate, Party, Patience, Refused
from tornado_gateway_rate_limit_meters import Hold, Rate, Taken, Want

GATE = Gate(("all",), 1, "One at once")
PATIENT = Patience(4, 4, 5.0)
IMPATIENT = Patience(4, 4, 0.01)
REQUEST = Want(("requests", "a"), Rate(60, 2))
TOKENS = Want(("tokens", "a"), Rate(60, 100), 60, reserve=True)


class Wire:
    """A worker's line to a keeper, over the same bytes, without the processes."""

    worker = 0

    def __init__(self, keeper: LimitKeeper, life: int = 1) -> None:
        self._keeper = keeper
        self._life = life

    async def call(self, method: str, *args: Any, seconds: float | None = 5.0) -> Any:
        given = getattr(self._keeper, method)(self._life, *_sent(args))
        return _sent(await given if asyncio.iscoroutine(given) else given)

    def tell(self, method: str, *args: Any) -> bool:
        getattr(self._keeper, method)(self._life, *_sent(args))
        return True


def _sent(value: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value))


def keeper() -> LimitKeeper:
    return LimitKeeper(100, clock=lambda: 0)


async def test_c46_two_workers_share_one_allowance() -> None:
    shared = keeper()
    one, other = SharedMeters(Wire(shared, 1)), SharedMeters(Wire(shared, 2))

    taken = [await meters.take([REQUEST]) for meters in (one, other, one)]

    assert [answer.refused for answer in taken] == [None, None, 0]
    assert [answer.readings[0].remaining for answer in taken] == [1, 0, 0]


async def test_requests_that_come_together_are_counted_one_by_one_with_one_question() -> None:
    asked: list[str] = []

    class Counting(Wire):
        async def call(self, method: str, *args: Any, seconds: float | None = 5.0) -> Any:
            asked.append(method)
            return await super().call(method, *args, seconds=seconds)

    meters = SharedMeters(Counting(keeper()))

    taken = await asyncio.gather(*[meters.take([REQUEST]) for _ in range(3)])
    later = await meters.take([REQUEST])

    assert [answer.refused for answer in (*taken, later)] == [None, None, 0, 0]
    assert asked == ["take", "take"]


async def test_without_a_parent_each_of_those_who_ask_together_is_told() -> None:
    class Cut(Wire):
        async def call(self, method: str, *args: Any, seconds: float | None = 5.0) -> Any:
            raise SharedUnavailable("The parent process is gone.")

    meters = SharedMeters(Cut(keeper()))

    told = await asyncio.gather(*[meters.take([REQUEST]) for _ in range(3)], return_exceptions=True)

    assert all(isinstance(error, SharedUnavailable) for error in told)
    assert len(set(map(id, told))) == 3  # each its own: one that is raised in several places would collect their traces


async def test_what_was_reserved_is_settled_with_what_was_used() -> None:
    meters = SharedMeters(Wire(keeper()))
    taken = await meters.take([TOKENS])

    await meters.settle(taken.holds, 10)
    await meters.settle(taken.holds, 10)  # once for each hold, however often it is said

    assert (await meters.take([TOKENS])).readings[0].remaining == 100 - 10 - 60
    assert isinstance(taken.holds[0], Hold)


async def test_what_a_dead_worker_had_reserved_counts_as_used() -> None:
    shared = keeper()
    await SharedMeters(Wire(shared, 1)).take([TOKENS])

    await shared.gone(1)

    assert (await SharedMeters(Wire(shared, 2)).take([TOKENS])).refused == 0


async def test_c45_two_workers_share_the_places_and_those_of_a_dead_one_are_given_back() -> None:
    shared = keeper()
    one, other = SharedLine(Wire(shared, 1)), SharedLine(Wire(shared, 2))
    await one.enter(Party("a"), [GATE], PATIENT)
    with pytest.raises(Refused) as refused:
        await other.enter(Party("b"), [GATE], IMPATIENT)
    waiting = asyncio.ensure_future(other.enter(Party("b"), [GATE], PATIENT))
    await asyncio.sleep(0)

    await shared.gone(1)

    release = await asyncio.wait_for(waiting, 5)
    release()
    assert refused.value.waited
    assert refused.value.gate == GATE


async def test_a_place_is_given_back_once() -> None:
    shared = keeper()
    line = SharedLine(Wire(shared))
    release = await line.enter(Party("a"), [GATE], PATIENT)

    release()
    release()

    again = await line.enter(Party("a"), [GATE], PATIENT)
    with pytest.raises(Refused):
        await line.enter(Party("a"), [GATE], IMPATIENT)
    again()


async def test_c45_a_wait_that_is_cancelled_leaves_no_trace() -> None:
    line = SharedLine(Wire(keeper()))
    release = await line.enter(Party("a"), [GATE], PATIENT)
    for _ in range(5):
        waiting = asyncio.ensure_future(line.enter(Party("b"), [GATE], PATIENT))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    release()

    assert callable(await line.enter(Party("c"), [GATE], IMPATIENT))


async def test_calls_of_one_request_that_has_begun_are_not_refused_half_way() -> None:
    line, party = SharedLine(Wire(keeper())), Party("a")
    first = await line.enter(party, [GATE], IMPATIENT)
    second = asyncio.ensure_future(line.enter(party, [GATE], IMPATIENT))
    await asyncio.sleep(0.05)

    assert party.begun
    assert not second.done()
    first()
    (await second)()


async def test_calls_of_one_request_that_come_together_are_not_refused_half_way() -> None:
    shared, party = keeper(), (0, "a", False)  # the second was sent before the worker knew that the first has begun
    patience = Patience(0, 0, 0.01)

    assert await shared.enter(1, 0, party, _sent([GATE]), _sent(patience)) is None
    second = asyncio.ensure_future(shared.enter(1, 1, party, _sent([GATE]), _sent(patience)))
    await asyncio.sleep(0)

    assert not second.done()
    shared.leave(1, 0)
    assert await second is None


async def test_what_was_reserved_for_one_who_left_meanwhile_is_given_back() -> None:
    shared = keeper()
    wire = Wire(shared)
    asked, go = asyncio.Event(), asyncio.Event()

    class Slow(Wire):
        async def call(self, method: str, *args: Any, seconds: float | None = 5.0) -> Any:
            given = await wire.call(method, *args)
            asked.set()
            await go.wait()
            return given

    meters = SharedMeters(Slow(shared))
    taking = asyncio.ensure_future(meters.take([TOKENS]))
    beside = asyncio.ensure_future(meters.take([REQUEST]))
    await asked.wait()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    go.set()
    assert (await beside).refused is None
    await until(lambda: not shared._holds[1])
    assert (await SharedMeters(wire).take([TOKENS])).refused is None


@pytest.mark.parametrize("turns", range(4))
async def test_what_was_reserved_for_one_who_leaves_as_the_answer_comes_is_given_back(turns: int) -> None:
    shared = keeper()
    answered = asyncio.Event()

    class Told(Wire):
        async def call(self, method: str, *args: Any, seconds: float | None = 5.0) -> Any:
            given = await super().call(method, *args, seconds=seconds)
            answered.set()
            return given

    taking = asyncio.ensure_future(SharedMeters(Told(shared)).take([TOKENS]))

    outcome, _ = await asyncio.gather(taking, _cancelled(taking, answered, turns), return_exceptions=True)

    assert len(shared._holds[1]) == (0 if isinstance(outcome, asyncio.CancelledError) else 1)


async def _cancelled(task: asyncio.Task[Any], after: asyncio.Event, turns: int) -> None:
    await after.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()


@pytest.mark.parametrize("name", ["rate", "spelling", "size"])
async def test_one_that_cannot_be_counted_takes_nobody_beside_it_down(name: str) -> None:
    bad = {
        "rate": Want(("requests", "b"), Rate(60.5, 2)),  # type: ignore[arg-type]  # what a plugin may say of a caller
        "spelling": Want(("requests", "\ud800"), Rate(60, 2)),
        "size": Want(("requests", "b"), Rate(2**64, 2)),
    }[name]
    meters = SharedMeters(Wire(keeper()))

    failed, good = await asyncio.wait_for(asyncio.gather(meters.take([bad]), meters.take([REQUEST]), return_exceptions=True), 5)

    assert isinstance(failed, Exception)
    assert isinstance(good, Taken)
    assert good.refused is None


async def test_a_request_that_came_to_nothing_is_given_back() -> None:
    meters = SharedMeters(Wire(keeper()))
    await meters.take([REQUEST])

    await meters.give_back([REQUEST])

    assert (await meters.take([REQUEST])).readings[0].remaining == 1


def test_values_survive_the_wire() -> None:
    values: Sequence[Any] = [REQUEST, asdict(GATE), asdict(PATIENT)]

    assert msgspec.convert(_sent(values[0]), Want) == REQUEST
    assert msgspec.convert(_sent(GATE), Gate) == GATE
    assert msgspec.convert(_sent(PATIENT), Patience) == PATIENT
