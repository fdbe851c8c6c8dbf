"""What a hook may cost: a time limit for its waits, a meter for its own time. Neither costs much where a hook does not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter_ns
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Meter:
    """Counts the calls of one hook of one plugin, and its own time: that in which nobody else could run, so not its waits.

    `on_slow` is told the nanoseconds of a stretch that was longer than `slow_ns`.
    """

    __slots__ = ("_on_slow", "_slow_ns", "calls", "failures", "longest_ns", "notable_ns", "spent_ns")

    def __init__(self, slow_ns: int, on_slow: Callable[[int], None]) -> None:
        self.calls = self.failures = self.spent_ns = self.longest_ns = 0
        self.notable_ns = 0
        """A stretch above this is the longest so far, or slow."""
        self._slow_ns = slow_ns
        self._on_slow = on_slow

    def add(self, spent_ns: int) -> None:
        """One stretch of work, up to the end or to a wait."""
        self.spent_ns += spent_ns
        if spent_ns > self.notable_ns:
            self.note(spent_ns)

    def note(self, spent_ns: int) -> None:
        """A stretch that was notable."""
        self.longest_ns = max(self.longest_ns, spent_ns)
        self.notable_ns = min(self.longest_ns, self._slow_ns)
        if spent_ns > self._slow_ns:
            self._on_slow(spent_ns)


def begin(coroutine: Coroutine[Any, Any, T], meter: Meter) -> T | Begun[T]:
    """Run a coroutine up to its end, or to its first wait: its result, or what is left of it.

    A hook that answers without waiting so costs one call and two looks at the clock, where a timer and a coroutine around it
    would be most of what such a hook costs.
    """
    meter.calls += 1
    began = perf_counter_ns()
    try:
        awaited = coroutine.send(None)
    except StopIteration as finished:
        return finished.value  # type: ignore[no-any-return]  # what a coroutine returns travels untyped
    except BaseException as error:
        _check(error)
        raise
    finally:
        spent = perf_counter_ns() - began  # as `Meter.add`: a call for each hook would be a tenth of what this costs
        meter.spent_ns += spent
        if spent > meter.notable_ns:
            meter.note(spent)
    return Begun(coroutine, awaited, meter)


async def within(seconds: float | None, coroutine: Coroutine[Any, Any, T], meter: Meter) -> T:
    """The result of `coroutine`; raises TimeoutError, and cancels it, when it waits for longer than `seconds`."""
    begun = begin(coroutine, meter)
    return await begun.within(seconds) if isinstance(begun, Begun) else begun


def _check(error: BaseException) -> None:
    """Raises a failure in place of what would end more than the hook: the process, or a request that nobody cancelled.

    A plugin that awaits a task of its own which was cancelled gets `CancelledError`, which here would look like a caller who has left.
    """
    if isinstance(error, SystemExit):
        raise RuntimeError("it tried to end the process") from error
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            raise RuntimeError("what it waited for was cancelled") from error


class Begun(Generic[T]):
    """A coroutine that has been run up to its first wait, to be awaited from there. Not an `Awaitable` by name: to ask for one of those is slow."""

    __slots__ = ("_awaited", "_coroutine", "_meter")

    def __init__(self, coroutine: Coroutine[Any, Any, T], awaited: Any, meter: Meter) -> None:
        self._coroutine = coroutine
        self._awaited = awaited
        self._meter = meter

    async def within(self, seconds: float | None) -> T:
        """Its result; raises TimeoutError, and cancels it, when it waits for longer than `seconds`."""
        async with asyncio.timeout(seconds):
            try:
                return await self
            except BaseException as error:
                _check(error)
                raise

    def __await__(self) -> Generator[Any, Any, T]:
        awaited = self._awaited
        try:
            while True:
                try:
                    sent = yield awaited
                except BaseException as error:  # noqa: BLE001  # whatever is thrown in belongs to the coroutine
                    awaited = self._step(self._coroutine.throw, error)
                else:
                    awaited = self._step(self._coroutine.send, sent)
        except StopIteration as finished:
            result: T = finished.value
            return result

    def _step(self, step: Callable[[Any], Any], value: Any) -> Any:
        began = perf_counter_ns()
        try:
            return step(value)
        finally:
            self._meter.add(perf_counter_ns() - began)
