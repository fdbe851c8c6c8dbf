"""Generations with several readers: who gets what, when they stop, and that nobody waits on a dead one."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Sequence

import pytest

from tornado_gateway.hookspecs import Forward, Message, Overloaded, Record, UnsupportedValue
from tornado_gateway_cache_flights import Flights, Reader

KEY = b"k"


def word(text: str) -> Record:
    return Record(message=Message(content=text))


END = Record(message=Message(), done=True, eval_count=5)


class Ollama:
    """What `forward()` gives: records when they are told to come, and a note of how it ended."""

    def __init__(self, *records: Record, error: Exception | None = None) -> None:
        self.records, self.error = list(records), error
        self.began = self.given = 0
        self.ended = ""
        self.may_end = asyncio.Event()
        self.steps = asyncio.Semaphore(0)

    def forward(self) -> AsyncGenerator[Sequence[Record], None]:
        return self._run()

    def go(self, steps: int = 1000) -> None:
        for _ in range(steps):
            self.steps.release()

    async def _run(self) -> AsyncGenerator[Sequence[Record], None]:
        self.began += 1
        try:
            for record in self.records:
                await self.steps.acquire()
                self.given += 1
                yield [record]
            if self.error is not None:
                raise self.error
            self.ended = "complete"
        finally:
            if not self.ended:
                await asyncio.sleep(0)  # stopping takes a turn of the loop, as closing a connection does
                self.ended = "stopped"


def never() -> AsyncGenerator[Sequence[Record], None]:
    raise AssertionError("this call must not be sent")


async def text(reader: Reader) -> str:
    return "".join([record.message.content async for batch in reader for record in batch if record.message])


async def spin(until: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not until():  # noqa: ASYNC110  # a turn of the loop at a time
            await asyncio.sleep(0)


def begin(flights: Flights, forward: Forward) -> Reader:
    return flights.begin(KEY, forward, keep=False)


def joined(flights: Flights) -> Reader:
    reader = flights.join(KEY, keep=False)
    assert reader is not None
    return reader


async def test_one_who_joins_later_gets_the_records_from_the_beginning_and_then_live() -> None:
    flights, ollama = Flights(100_000), Ollama(word("a"), word("b"), word("c"), END)
    first = begin(flights, ollama.forward)
    ollama.go(2)
    await spin(lambda: ollama.given == 2)

    second = joined(flights)
    early = await anext(second)
    ollama.go()

    assert [record.message and record.message.content for record in early] == ["a", "b"]
    assert await text(second) == "c"
    assert await text(first) == "abc"
    assert (ollama.began, ollama.ended) == (1, "complete")


async def test_records_come_live_and_not_at_the_end() -> None:
    flights, ollama = Flights(100_000), Ollama(word("a"), word("b"), END)
    reader = begin(flights, ollama.forward)

    ollama.go(1)

    assert await asyncio.wait_for(anext(reader), 5) == [word("a")]
    await reader.aclose()


async def test_when_the_first_one_leaves_the_generation_goes_on_for_the_others() -> None:
    flights, ollama = Flights(100_000), Ollama(word("a"), word("b"), END)
    first, second = begin(flights, ollama.forward), joined(flights)
    ollama.go(1)
    await anext(first)

    await first.aclose()
    ollama.go()

    assert await text(second) == "ab"


async def test_a_task_that_is_cancelled_while_it_waits_leaves_as_well() -> None:
    flights, ollama = Flights(100_000), Ollama(word("a"), END)
    first, second = begin(flights, ollama.forward), joined(flights)
    waiting = asyncio.get_running_loop().create_task(text(first))
    await spin(lambda: ollama.began)

    waiting.cancel()
    await asyncio.wait([waiting])
    await first.aclose()
    ollama.go()

    assert await text(second) == "a"


async def test_the_last_one_to_leave_has_stopped_the_generation() -> None:
    flights, ollama = Flights(100_000), Ollama(word("a"), END)
    first, second = begin(flights, ollama.forward), joined(flights)
    await spin(lambda: ollama.began)

    await first.aclose()
    assert ollama.ended == ""
    await second.aclose()

    assert ollama.ended == "stopped"
    assert len(flights) == 0


async def test_a_generation_that_is_stopped_is_joined_no_more() -> None:
    flights, ollama = Flights(100_000), Ollama(word("a"), END)
    reader = begin(flights, ollama.forward)
    await spin(lambda: ollama.began)

    leaving = asyncio.get_running_loop().create_task(reader.aclose())
    await asyncio.sleep(0)

    assert ollama.ended == ""  # it is about to stop
    assert flights.join(KEY, keep=False) is None
    await leaving


async def test_one_who_leaves_before_the_first_step_sends_nothing() -> None:
    flights = Flights(100_000)

    await begin(flights, never).aclose()

    assert flights.join(KEY, keep=False) is None
    assert len(flights) == 0


async def test_a_failure_reaches_all_and_is_joined_by_none() -> None:
    failure = UnsupportedValue("Ollama cannot.")
    flights, ollama = Flights(100_000), Ollama(word("a"), error=failure)
    readers = [begin(flights, ollama.forward), joined(flights), joined(flights)]
    ollama.go()

    for reader in readers:
        with pytest.raises(UnsupportedValue):
            await asyncio.wait_for(text(reader), 5)

    assert flights.join(KEY, keep=False) is None


async def test_a_failure_before_the_first_record_reaches_all() -> None:
    flights, ollama = Flights(100_000), Ollama(error=OSError("no place"))
    readers = [begin(flights, ollama.forward), joined(flights)]

    for reader in readers:
        with pytest.raises(OSError, match="no place"):
            await asyncio.wait_for(text(reader), 5)


@pytest.mark.parametrize("end", [END, Record(embeddings=[])])
async def test_one_that_has_ended_is_joined_no_more(end: Record) -> None:
    flights, ollama = Flights(100_000), Ollama(word("a"), end, word("never seen"))
    reader = begin(flights, ollama.forward)
    ollama.go(2)
    await spin(lambda: ollama.given == 2)

    assert flights.join(KEY, keep=False) is None
    await reader.aclose()


async def test_a_new_one_takes_the_place_of_an_old_one_and_both_go_on() -> None:
    flights, old, new = Flights(100_000), Ollama(word("old"), END), Ollama(word("new"), END)
    first = begin(flights, old.forward)
    second = begin(flights, new.forward)
    third = joined(flights)
    old.go()
    new.go()

    assert [await text(first), await text(second), await text(third)] == ["old", "new", "new"]


async def test_the_slowest_reader_holds_the_generation_back_at_the_bound() -> None:
    flights, ollama = Flights(5_000), Ollama(*[word("x" * 744)] * 20, END)  # 1,000 bytes each
    slow, fast = begin(flights, ollama.forward), joined(flights)
    ollama.go()
    reading = asyncio.get_running_loop().create_task(text(fast))

    await spin(lambda: ollama.given == 6)
    for _ in range(20):
        await asyncio.sleep(0)
    assert ollama.given == 6  # the one that passed the bound, and no more
    assert not reading.done()

    assert await text(slow) == "x" * 744 * 20
    assert await reading == "x" * 744 * 20


async def test_a_slow_reader_who_leaves_holds_nobody_back() -> None:
    flights, ollama = Flights(5_000), Ollama(*[word("x" * 744)] * 20, END)
    slow, fast = begin(flights, ollama.forward), joined(flights)
    ollama.go()
    reading = asyncio.get_running_loop().create_task(text(fast))
    await spin(lambda: ollama.given == 6)

    await slow.aclose()

    assert await asyncio.wait_for(reading, 5) == "x" * 744 * 20


async def test_one_whose_beginning_is_gone_is_joined_no_more() -> None:
    flights, ollama = Flights(2_000), Ollama(*[word("x" * 744)] * 10, END)
    reader = begin(flights, ollama.forward)
    ollama.go(4)
    for _ in range(2):
        await anext(reader)
    await spin(lambda: ollama.given == 4)

    assert flights.join(KEY, keep=False) is None
    ollama.go()
    await text(reader)


async def test_the_wish_of_one_reader_to_keep_the_answer_is_enough() -> None:
    flights, ollama = Flights(100_000), Ollama(word("a"), END)
    first = flights.begin(KEY, ollama.forward, keep=False)
    assert not first.keep

    second = flights.join(KEY, keep=True)
    assert second is not None
    await second.aclose()

    assert first.keep
    await first.aclose()


async def test_shutting_down_stops_all_and_tells_the_readers() -> None:
    flights, ollama = Flights(100_000), Ollama(word("a"), END)
    reader = begin(flights, ollama.forward)
    await spin(lambda: ollama.began)

    await flights.stop()

    assert ollama.ended == "stopped"
    with pytest.raises(Overloaded):
        await asyncio.wait_for(text(reader), 5)


async def test_shutting_down_waits_for_one_that_somebody_else_has_begun_to_stop() -> None:
    flights, stopped = Flights(100_000), asyncio.Event()

    async def slow_to_stop() -> AsyncGenerator[Sequence[Record], None]:
        try:
            yield [word("a")]
            await asyncio.Event().wait()
        finally:
            with contextlib.suppress(asyncio.CancelledError):  # told to stop once more while it does
                await asyncio.Event().wait()
            stopped.set()

    reader = begin(flights, slow_to_stop)
    await anext(reader)
    leaving = asyncio.ensure_future(reader.aclose())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert len(flights) == 1

    await asyncio.wait_for(flights.stop(), 5)

    assert stopped.is_set()
    assert len(flights) == 0


async def test_to_whoever_iterates_a_reader_is_an_asynchronous_generator() -> None:
    """The gateway closes an answer in mid-stream only when it is one."""
    flights, ollama = Flights(100_000), Ollama(word("a"), END)
    reader = begin(flights, ollama.forward)

    assert isinstance(reader, AsyncGenerator)
    with pytest.raises(ZeroDivisionError):
        await reader.athrow(ZeroDivisionError())
    assert len(flights) == 0


@pytest.mark.parametrize("seed", range(20))
async def test_every_stayer_gets_the_whole_answer_from_one_generation(seed: int) -> None:
    """Fifty readers, random paces, random leavers, a bound that is met on the way."""
    chance = random.Random(seed)
    words = [word(f"{number} " * chance.randrange(1, 40)) for number in range(60)]
    whole = "".join(record.message.content for record in words if record.message)
    flights, ollama = Flights(chance.choice([3_000, 1_000_000])), Ollama(*words, END)
    begun = list[int]()

    async def reader(stays: bool) -> str | None:
        for _ in range(chance.randrange(10)):
            await asyncio.sleep(0)
        own = flights.join(KEY, keep=False)
        if own is None:
            begun.append(1)
            assert len(begun) == 1
            own = begin(flights, ollama.forward)
        pieces = []
        try:
            async for batch in own:
                pieces += [record.message.content for record in batch if record.message]
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                if not stays and chance.random() < 0.1:
                    return None
        finally:
            await own.aclose()
        return "".join(pieces)

    stays = [True, *(chance.random() < 0.5 for _ in range(49))]
    tasks = [asyncio.get_running_loop().create_task(reader(stay)) for stay in stays]
    for _ in range(12):  # all have come before the first record goes out
        await asyncio.sleep(0)
    leavers = [task for task, stay in zip(tasks, stays, strict=True) if not stay]
    while not all(task.done() for task in tasks):
        ollama.go(chance.randrange(2))
        if leavers and chance.random() < 0.1:
            chance.choice(leavers).cancel()
        await asyncio.sleep(0)
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert ollama.began == 1
    assert [answer for answer, stay in zip(answers, stays, strict=True) if stay] == [whole] * stays.count(True)
    await spin(lambda: len(flights) == 0)


@pytest.mark.parametrize("seed", range(10))
async def test_when_all_leave_at_random_nothing_is_left_running(seed: int) -> None:
    chance = random.Random(seed)
    flights, ollama = Flights(3_000), Ollama(*[word("x" * 100)] * 100, END)
    readers = [begin(flights, ollama.forward), *(joined(flights) for _ in range(20))]
    tasks = [asyncio.get_running_loop().create_task(text(reader)) for reader in readers]

    chance.shuffle(tasks)
    for task in tasks:
        ollama.go(chance.randrange(3))
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait(tasks)
    for reader in readers:
        await reader.aclose()

    assert len(flights) == 0
    assert ollama.ended in {"stopped", "complete"} or not ollama.began
