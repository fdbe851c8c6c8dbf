"""The line in front of Ollama: so many run at once, some wait a bounded time, the rest are refused at once.

Waiting happens here and not in Ollama, whose own line has no bound for a loaded model. First come, first served within a
tenant; between tenants in turn, so that one who sends a hundred requests delays another by one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound on what may run at once, and its words for a refusal."""

    key: Key
    limit: int
    words: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How many requests may wait, of one tenant and in all, and for how long in seconds."""

    waiting: int
    waiting_total: int
    seconds: float


class Refused(Exception):
    """There is no place. `retry_after` in seconds is a guess from how long places are held."""

    def __init__(self, gate: Gate, *, waited: bool, retry_after: float) -> None:
        super().__init__(gate.words)
        self.gate = gate
        self.waited = waited
        self.retry_after = retry_after


class Party:
    """The native calls of one request: they wait together, and one that has begun is not refused half-way."""

    __slots__ = ("__weakref__", "begun", "tenant")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.begun = False


class _Waiter:
    __slots__ = ("gates", "party", "place")

    def __init__(self, party: Party, gates: Sequence[Gate], place: asyncio.Future[None]) -> None:
        self.party = party
        self.gates = gates
        self.place = place


class Line:
    """Places at gates. Whatever is given is given back once; a wait that ends early leaves no trace."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: Counter[Key] = Counter()
        self._lines: dict[str, deque[_Waiter]] = {}
        self._held_seconds = 1.0

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum(map(len, self._lines.values()))

    def running(self, key: Key) -> int:
        """How many calls run behind a gate."""
        return self._running[key]

    async def enter(self, party: Party, gates: Sequence[Gate], patience: Patience) -> Callable[[], None]:
        """A place behind all gates, and the function that gives it back. Raises `Refused`."""
        # Whoever waits already waits for a gate that is full, so a call that finds room overtakes nobody at its own gates.
        if self._has_room(gates):
            self._take(party, gates)
        else:
            await self._wait(party, gates, patience)
        return _Place(self, gates, self._clock()).give_back

    def leave(self, gates: Sequence[Gate], seconds: float) -> None:
        self._held_seconds += (seconds - self._held_seconds) / 8
        for gate in gates:
            self._running[gate.key] -= 1
            if not self._running[gate.key]:
                del self._running[gate.key]
        self._serve()

    async def _wait(self, party: Party, gates: Sequence[Gate], patience: Patience) -> None:
        self._refuse_if_full(party, gates, patience)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(party, gates, loop.create_future())
        self._lines.setdefault(party.tenant, deque()).append(waiter)
        timer = loop.call_later(patience.seconds, self._expire, waiter)
        try:
            await waiter.place
        except asyncio.CancelledError:
            # The place may have come in the same turn of the loop as the cancellation: it is another's now.
            if has_come(waiter.place):
                self.leave(gates, self._held_seconds)
            raise
        finally:
            timer.cancel()
            self._forget(waiter)

    def _refuse_if_full(self, party: Party, gates: Sequence[Gate], patience: Patience) -> None:
        own = self._parties(party.tenant)
        if party.begun or party in own:
            return
        if len(own) >= patience.waiting or self.waiting >= patience.waiting_total:
            raise self._refusal(gates, waited=False)

    def _parties(self, tenant: str) -> set[Party]:
        return {waiter.party for waiter in self._lines.get(tenant, ()) if not waiter.party.begun}

    def _expire(self, waiter: _Waiter) -> None:
        if not waiter.place.done() and not waiter.party.begun:
            self._forget(waiter)
            waiter.place.set_exception(self._refusal(waiter.gates, waited=True))

    def _refusal(self, gates: Sequence[Gate], *, waited: bool) -> Refused:
        full = next((gate for gate in gates if self._running[gate.key] >= gate.limit), gates[0])
        ahead = sum(full in waiter.gates for line in self._lines.values() for waiter in line)
        guess = self._held_seconds * (ahead + 1) / max(1, full.limit)
        return Refused(full, waited=waited, retry_after=min(60.0, max(1.0, guess)))

    def _has_room(self, gates: Sequence[Gate]) -> bool:
        return all(self._running[gate.key] < gate.limit for gate in gates)

    def _take(self, party: Party, gates: Sequence[Gate]) -> None:
        party.begun = True
        for gate in gates:
            self._running[gate.key] += 1

    def _serve(self) -> None:
        while (waiter := self._next()) is not None:
            self._take(waiter.party, waiter.gates)
            self._forget(waiter)
            # This tenant goes to the end of the turn.
            line = self._lines.pop(waiter.party.tenant, None)
            if line:
                self._lines[waiter.party.tenant] = line
            waiter.place.set_result(None)

    def _next(self) -> _Waiter | None:
        for line in self._lines.values():
            for waiter in line:
                if not waiter.place.done() and self._has_room(waiter.gates):
                    return waiter
        return None

    def _forget(self, waiter: _Waiter) -> None:
        line = self._lines.get(waiter.party.tenant)
        if line is not None and waiter in line:
            line.remove(waiter)
            if not line:
                del self._lines[waiter.party.tenant]


def has_come(future: asyncio.Future[Any]) -> bool:
    """Whether there is a result: to ask when the wait for it was cancelled, since both may come in one turn of the loop."""
    return future.done() and not future.cancelled() and future.exception() is None


class _Place:
    """One place, given back once however often that is asked."""

    __slots__ = ("_gates", "_line", "_since")

    def __init__(self, line: Line, gates: Sequence[Gate], since: float) -> None:
        self._line: Line | None = line
        self._gates = gates
        self._since = since

    def give_back(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.leave(self._gates, line._clock() - self._since)
