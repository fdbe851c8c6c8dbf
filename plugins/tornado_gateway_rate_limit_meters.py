"""How much each caller has used: token buckets in exact numbers, behind an interface that a shared store can also serve.

A meter fills with what is used and drains at a steady rate; what would make it run over is refused. Integers throughout: an
amount is kept in units of 1 / 60,000,000,000, of which a rate of N a minute drains N in each nanosecond, so that no
rounding lets a caller have more, or less, than is allowed.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

Key = tuple[str, ...]
"""Whose meter, of what: a tuple, so that no two names can run together."""

MINUTE = 60_000_000_000
"""Nanoseconds; also the number of parts in which one unit is counted."""

NEVER = 3600.0
"""What is said about the wait when a rate of nothing will never let a caller in."""

_SWEEP = 64
"""How many meters a newcomer may push out of the way: bounds the time that one request can cost."""


class Rate(NamedTuple):
    """A steady rate, and how much may come at once."""

    per_minute: int
    burst: int


class Want(NamedTuple):
    """An amount asked of one meter. A reserved one is settled later with what was really used."""

    key: Key
    rate: Rate
    amount: int = 1
    reserve: bool = False


class Reading(NamedTuple):
    """How a meter stands. Times in seconds."""

    limit: int
    remaining: int
    reset: float
    """Until nothing is used."""
    wait: float = 0.0
    """Until the amount that was refused fits; 0.0 when it was taken."""


class Hold(NamedTuple):
    """An amount that was reserved and waits to be settled."""

    key: Key
    rate: Rate
    number: int
    amount: int


class Taken(NamedTuple):
    """The answer to `take`: a reading for each want, in order, and what was reserved."""

    readings: Sequence[Reading]
    holds: Sequence[Hold] = ()
    full: bool = False
    """No meter could be kept for this caller: too many others are in use."""

    @property
    def refused(self) -> int | None:
        """The index of the want that refuses, the one with the longest wait where several do; None when all were taken."""
        if len(self.readings) == 1:
            return 0 if self.readings[0].wait else None
        waits = [reading.wait for reading in self.readings]
        longest = max(waits)
        return waits.index(longest) if longest else None


class Meters(Protocol):
    """Where the counting happens: in this process, or later in a store that several processes share."""

    async def take(self, wants: Sequence[Want]) -> Taken:
        """Take all wants, or none of them when one does not fit."""
        ...

    async def settle(self, holds: Sequence[Hold], used: int) -> None:
        """Put what was really used in the place of what was reserved. 0 is a refund. Once for each hold."""
        ...

    async def give_back(self, wants: Sequence[Want]) -> None:
        """Undo what was taken, not reserved, for a request that came to nothing. Once for each want."""
        ...


class MemoryMeters:
    """Meters of this process, at most `size` of them: what `Meters` does, without a wait.

    A meter that is in use is never forgotten, since that would give its owner a fresh allowance: when all are, newcomers wait.
    """

    def __init__(self, size: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._size = size
        self._clock = clock
        self._meters: OrderedDict[Key, _Meter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._meters)

    def resize(self, size: int) -> None:
        self._size = size

    def take(self, wants: Sequence[Want]) -> Taken:
        now = self._clock()
        found = self._find(wants, now)
        if found is None:
            return Taken([Reading(want.rate.burst, 0, 1.0, 1.0) for want in wants], full=True)
        waits = [meter.wait(want.rate, want.amount, now) for meter, want in found]
        holds: list[Hold] = []
        if not any(waits):
            for meter, want in found:
                number = meter.add(want.amount, reserve=want.reserve)
                if want.reserve:
                    holds.append(Hold(want.key, want.rate, number, want.amount))
        return Taken([meter.reading(want.rate, wait) for (meter, want), wait in zip(found, waits, strict=True)], holds)

    def settle(self, holds: Sequence[Hold], used: int) -> None:
        now = self._clock()
        for hold in holds:
            meter = self._meters.get(hold.key)
            if meter is not None:
                meter.drain(hold.rate, now)
                meter.settle(hold.number, hold.amount, used)

    def give_back(self, wants: Sequence[Want]) -> None:
        now = self._clock()
        for want in wants:
            meter = self._meters.get(want.key)
            if meter is not None:
                meter.drain(want.rate, now)
                meter.give_back(want.amount)

    def _find(self, wants: Sequence[Want], now: int) -> list[tuple[_Meter, Want]] | None:
        """Each want with its meter, new ones made; None when there is no room for them."""
        known = self._meters
        try:
            return [(known[want.key], want) for want in wants]
        except KeyError:  # hardly ever: a caller's first request
            new = {want.key for want in wants} - known.keys()
        if not self._make_room(len(new), now):
            return None
        return [(known.get(want.key) or known.setdefault(want.key, _Meter(now)), want) for want in wants]

    def _make_room(self, number: int, now: int) -> bool:
        # A clock hand over the meters: those at rest go, those in use move to the end and are looked at again a round later.
        for _ in range(min(_SWEEP, len(self._meters))):
            key, meter = self._meters.popitem(last=False)
            if not meter.at_rest(now):
                self._meters[key] = meter
                if len(self._meters) + number <= self._size:
                    break
        return len(self._meters) + number <= self._size


class OwnMeters:
    """`Meters` of a process that counts for itself alone."""

    def __init__(self, memory: MemoryMeters) -> None:
        self._memory = memory

    async def take(self, wants: Sequence[Want]) -> Taken:
        return self._memory.take(wants)

    async def settle(self, holds: Sequence[Hold], used: int) -> None:
        self._memory.settle(holds, used)

    async def give_back(self, wants: Sequence[Want]) -> None:
        self._memory.give_back(wants)


class _Meter:
    """What one caller has used.

    The drain pays off what is settled first and reservations after it, the oldest first. So a refund gives back no more than
    what the reservation still takes up: the drain that it used up would have been lost without it.
    """

    __slots__ = ("_at", "_debt", "_held", "_number", "_open", "_rate")

    def __init__(self, now: int) -> None:
        self._at = now
        self._debt = 0
        self._held: dict[int, int] = {}
        self._number = 0
        self._open = 0
        self._rate = 0

    @property
    def _level(self) -> int:
        return self._debt + sum(self._held.values()) if self._held else self._debt

    def at_rest(self, now: int) -> bool:
        """Whether a new meter would say the same."""
        return not self._open and self._debt <= self._rate * (now - self._at)

    def drain(self, rate: Rate, now: int) -> None:
        self._rate = rate.per_minute
        if now <= self._at:
            return
        drained = rate.per_minute * (now - self._at)
        self._at = now
        if drained <= self._debt:
            self._debt -= drained
            return
        drained -= self._debt
        self._debt = 0
        while drained and self._held:
            number, held = next(iter(self._held.items()))
            if held > drained:
                self._held[number] = held - drained
                return
            del self._held[number]
            drained -= held

    def wait(self, rate: Rate, amount: int, now: int) -> float:
        """Seconds until `amount` fits; 0.0 when it does."""
        self.drain(rate, now)
        over = self._level + (amount - rate.burst) * MINUTE
        return _seconds(over, rate) if over > 0 else 0.0

    def add(self, amount: int, *, reserve: bool) -> int:
        if not reserve:
            self._debt += amount * MINUTE
            return 0
        self._number += 1
        self._open += 1
        self._held[self._number] = amount * MINUTE
        return self._number

    def settle(self, number: int, reserved: int, used: int) -> None:
        left = self._held.pop(number, 0)
        drained = reserved * MINUTE - left
        self._debt += max(0, used * MINUTE - drained)
        self._open -= 1

    def give_back(self, amount: int) -> None:
        self._debt = max(0, self._debt - amount * MINUTE)

    def reading(self, rate: Rate, wait: float) -> Reading:
        level = self._level
        return Reading(rate.burst, max(0, rate.burst * MINUTE - level) // MINUTE, _seconds(level, rate), wait)


def _seconds(parts: int, rate: Rate) -> float:
    """How long `parts` take to drain, to the nanosecond above."""
    if parts <= 0:
        return 0.0
    return -(-parts // rate.per_minute) / 1e9 if rate.per_minute > 0 else NEVER
