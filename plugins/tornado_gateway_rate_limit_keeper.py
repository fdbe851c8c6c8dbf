"""Limits that hold across the workers of one server: meters and line live in the parent process, and are asked over its channel.

What a worker holds when it dies is given back: places at once, reservations as if they had been used.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import msgspec

from tornado_gateway.hookspecs import Keeper, Shared, SharedUnavailable
from tornado_gateway_rate_limit_line import Gate, Line, Party, Patience, Refused, has_come
from tornado_gateway_rate_limit_meters import Hold, Key, MemoryMeters, Taken, Want


class LimitKeeper(Keeper):
    """In the parent: the one who counts."""

    def __init__(self, max_tenants: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._meters = MemoryMeters(max_tenants, clock)
        self._line = Line()
        self._holds: defaultdict[int, dict[tuple[Key, int], Hold]] = defaultdict(dict)
        self._places: defaultdict[int, dict[int, tuple[Callable[[], None], Party]]] = defaultdict(dict)
        """By life and number of the call. Whose place it is stays known with it: the request's other calls may be on their way."""
        self._parties: WeakValueDictionary[tuple[int, int], Party] = WeakValueDictionary()

    async def reconfigure(self, settings: Any) -> None:
        self._meters.resize(settings.max_tenants)

    def take(self, life: int, asked: list[Any]) -> list[Taken | None]:
        """For several requests, one after another; None for one that asks for what cannot be counted."""
        answers: list[Taken | None] = []
        for wants in asked:
            try:
                taken = self._meters.take(msgspec.convert(wants, list[Want]))
            except msgspec.ValidationError:
                answers.append(None)
                continue
            for hold in taken.holds:
                self._holds[life][hold.key, hold.number] = hold
            answers.append(taken)
        return answers

    def settle(self, life: int, holds: list[Any], used: int) -> None:
        known = self._holds[life]
        settled = [known.pop((hold.key, hold.number), None) for hold in msgspec.convert(holds, list[Hold])]
        self._meters.settle([hold for hold in settled if hold is not None], used)

    def give_back(self, life: int, wants: list[Any]) -> None:
        self._meters.give_back(msgspec.convert(wants, list[Want]))

    async def enter(
        self, life: int, number: int, party: tuple[int, str, bool], gates: list[Any], patience: Any
    ) -> tuple[int, bool, float] | None:
        """None with a place that `leave` gives back; else which gate refuses, whether after a wait, and when to come back."""
        asked, whose = msgspec.convert(gates, list[Gate]), self._party(life, *party)
        try:
            release = await self._line.enter(whose, asked, msgspec.convert(patience, Patience))
        except Refused as refused:
            return asked.index(refused.gate), refused.waited, refused.retry_after
        self._places[life][number] = release, whose
        return None

    def leave(self, life: int, number: int) -> None:
        place = self._places[life].pop(number, None)
        if place is not None:
            release, _ = place
            release()

    async def gone(self, life: int) -> None:
        for release, _ in self._places.pop(life, {}).values():
            release()
        for hold in self._holds.pop(life, {}).values():
            self._meters.settle([hold], hold.amount)

    def _party(self, life: int, number: int, tenant: str, begun: bool) -> Party:
        party = self._parties.get((life, number))
        if party is None:
            party = self._parties[life, number] = Party(tenant)
        party.begun = party.begun or begun
        return party


class SharedMeters:
    """`Meters` of a worker. Requests that come together are counted with one question: the way to the parent costs more than the counting."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._waiting: list[tuple[msgspec.Raw, asyncio.Future[Taken]]] = []
        """Who came in this turn of the loop: they are asked for in the next."""
        self._asking: set[asyncio.Task[None]] = set()

    async def take(self, wants: Sequence[Want]) -> Taken:
        asked = msgspec.Raw(_encode(wants))  # what cannot be sent fails here, and not those who ask beside it
        loop = asyncio.get_running_loop()
        if not self._waiting:
            task = loop.create_task(self._ask())
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        taken: asyncio.Future[Taken] = loop.create_future()
        self._waiting.append((asked, taken))
        try:
            return await taken
        except asyncio.CancelledError:
            if has_come(taken):
                await self._settle_unused(taken.result())
            raise

    async def _ask(self) -> None:
        waiting = [entry for entry in self._waiting if not entry[1].done()]  # who has left already is not counted
        self._waiting = []
        try:
            answers = msgspec.convert(await self._shared.call("take", [asked for asked, _ in waiting]), list[Taken | None])
        except Exception as error:  # noqa: BLE001  # each has to hear of it: whoever waits would wait for ever
            for _, taken in waiting:
                if not taken.done():
                    taken.set_exception(SharedUnavailable(*error.args))
            return
        for (_, taken), answer in zip(waiting, answers, strict=True):
            if taken.done():  # who wanted it has left meanwhile
                if answer is not None:
                    await self._settle_unused(answer)
            elif answer is None:
                taken.set_exception(SharedUnavailable("The parent process cannot count this."))
            else:
                taken.set_result(answer)

    async def _settle_unused(self, taken: Taken) -> None:
        """What nobody uses would otherwise never be settled."""
        if taken.holds:
            await self.settle(taken.holds, 0)

    async def settle(self, holds: Sequence[Hold], used: int) -> None:
        self._shared.tell("settle", holds, used)  # what is not heard stays counted as it was reserved

    async def give_back(self, wants: Sequence[Want]) -> None:
        self._shared.tell("give_back", wants)


class SharedLine:
    """`Line` of a worker."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._numbers = itertools.count()
        self._parties: WeakKeyDictionary[Party, int] = WeakKeyDictionary()

    async def enter(self, party: Party, gates: Sequence[Gate], patience: Patience) -> Callable[[], None]:
        number = next(self._numbers)
        known = self._parties.setdefault(party, number), party.tenant, party.begun
        try:
            # The parent keeps the time limit: it also knows when none counts any more.
            refused = await self._shared.call("enter", number, known, gates, patience, seconds=None)
        except (Exception, asyncio.CancelledError):
            # The place may have been given already, and its news be on the way.
            self._shared.tell("leave", number)
            raise
        if refused is not None:
            index, waited, retry_after = refused
            raise Refused(gates[index], waited=waited, retry_after=retry_after)
        party.begun = True
        return _Once(lambda: self._shared.tell("leave", number))


class _Once:
    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function

    def __call__(self) -> None:
        function, self._function = self._function, None
        if function is not None:
            function()


_encode = msgspec.msgpack.Encoder().encode
