import asyncio
from typing import Any

import pytest

from tornado_gateway.hookspecs import Keeper, ServerFacts, StartupRefused
from tornado_gateway.keepers import Desk, Keepers

SERVER = ServerFacts("127.0.0.1", 3000, loopback=True, announce=lambda _: None, workers=2)


class Counting(Keeper):
    def __init__(self) -> None:
        self.said: list[Any] = []
        self.waits = asyncio.Event()

    async def start(self, server: ServerFacts) -> None:
        self.said.append("start")

    async def reconfigure(self, settings: Any) -> None:
        self.said.append(settings)

    async def gone(self, life: int) -> None:
        self.said.append(("gone", life))

    async def stop(self) -> None:
        self.said.append("stop")

    def add(self, life: int, number: int) -> int:
        self.said.append((life, number))
        return number + 1

    async def wait(self, life: int) -> str:
        try:
            await self.waits.wait()
        except asyncio.CancelledError:
            self.said.append("cancelled")
            raise
        return "waited"

    def fail(self, life: int) -> None:
        raise ValueError("no")

    def _own(self, life: int) -> None:
        raise AssertionError


class Refusing(Keeper):
    async def start(self, server: ServerFacts) -> None:
        raise StartupRefused("not today")


def desk(keeper: Keeper) -> tuple[Desk, asyncio.Queue[list[Any]]]:
    answers: asyncio.Queue[list[Any]] = asyncio.Queue()
    return Keepers({"mine": keeper}).desk(7, answers.put_nowait), answers


async def test_a_call_is_answered_with_what_the_method_gives() -> None:
    keeper = Counting()
    taken, answers = desk(keeper)

    taken.call(1, "mine", "add", [41])
    taken.call(2, "mine", "wait", [])
    keeper.waits.set()

    assert [await answers.get(), await answers.get()] == [["answer", 1, 42], ["answer", 2, "waited"]]
    assert keeper.said == [(7, 41)]


@pytest.mark.parametrize(
    ("plugin", "method"), [("other", "add"), ("mine", "_own"), ("mine", "stop"), ("mine", "nothing"), ("mine", "fail")]
)
async def test_what_cannot_be_asked_or_fails_is_a_failure(plugin: str, method: str) -> None:
    taken, answers = desk(Counting())

    taken.call(1, plugin, method, [])

    kind, number, words = await answers.get()
    assert (kind, number) == ("failure", 1)
    assert method in words


async def test_what_is_told_is_done_in_order_and_never_answered() -> None:
    keeper = Counting()
    taken, answers = desk(keeper)

    taken.tell("mine", "add", [1])
    taken.tell("mine", "fail", [])
    taken.tell("mine", "wait", [])
    taken.tell("mine", "add", [2])

    assert keeper.said == [(7, 1), (7, 2)]
    assert answers.empty()


async def test_a_cancelled_call_is_cancelled_here_too() -> None:
    keeper = Counting()
    taken, answers = desk(keeper)
    taken.call(1, "mine", "wait", [])
    await asyncio.sleep(0)

    taken.cancel(1)
    taken.cancel(99)
    await asyncio.sleep(0.01)

    assert keeper.said == ["cancelled"]
    assert answers.empty()


async def test_when_a_worker_ends_its_calls_end_and_the_keeper_is_told() -> None:
    keeper = Counting()
    taken, _ = desk(keeper)
    taken.call(1, "mine", "wait", [])
    await asyncio.sleep(0)

    await taken.close()

    assert keeper.said == ["cancelled", ("gone", 7)]


async def test_the_number_of_calls_at_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tornado_gateway.keepers.MOST_CALLS", 1)
    taken, answers = desk(Counting())
    taken.call(1, "mine", "wait", [])

    taken.call(2, "mine", "wait", [])

    assert (await answers.get())[:2] == ["failure", 2]
    await taken.close()


async def test_keepers_start_in_order_and_stop_in_the_opposite_one_and_take_new_settings() -> None:
    one = Counting()
    keepers = Keepers({"one": one})

    await keepers.start(SERVER)
    await keepers.reconfigure({"one": "settings", "other": 1})
    await keepers.stop()

    assert one.said == ["start", "settings", "stop"]


async def test_when_one_refuses_those_that_had_started_are_stopped() -> None:
    one = Counting()

    with pytest.raises(StartupRefused):
        await Keepers({"one": one, "two": Refusing()}).start(SERVER)

    assert one.said == ["start", "stop"]
