"""What a hook may cost: a time limit for its waits, a meter for its own time. Neither costs much where a hook does not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from time import monotonic, perf_counter_ns
from typing import Any, TypeVar

T = TypeVar("T")

FAILURES = (Exception, SystemExit, asyncio.CancelledError)
"""What counts as a failure of a plain function: it cannot wait, so a cancellation that comes from it is no one else's."""


class Meter:
    """Counts the calls of one hook of one plugin, and its own time: that in which nobody else could run, so not its waits.

    `on_slow` is told the nanoseconds of a stretch that was longer than `slow_ns`.
    """

    __slots__ = ("_on_slow", "_slow_ns", "calls", "failures", "longest_ns", "spent_ns", "usual_ns", "waiting")

    def __init__(self, slow_ns: int, on_slow: Callable[[int], None]) -> None:
        self.calls = self.failures = self.spent_ns = self.longest_ns = self.waiting = 0
        self.usual_ns = 0
        """A stretch up to this long is only added: it is neither the longest so far nor slow."""
        self._slow_ns = slow_ns
        self._on_slow = on_slow

    def add(self, spent_ns: int) -> None:
        """One stretch of work, up to the end or to a wait."""
        self.spent_ns += spent_ns
        if spent_ns > self.usual_ns:
            self.note(spent_ns)

    def note(self, spent_ns: int) -> None:
        """One stretch that was longer than usual."""
        self.longest_ns = max(spent_ns, self.longest_ns)
        self.usual_ns = min(self.longest_ns, self._slow_ns)
        if spent_ns > self._slow_ns:
            self._on_slow(spent_ns)


async def within(seconds: float | None, coroutine: Coroutine[Any, Any, T], meter: Meter) -> T:
    """The result of `coroutine`; raises TimeoutError, and cancels it, when it waits for longer than `seconds`.

    A hook that answers without waiting costs one call and two looks at the clock instead of a timer, which is most of what such a
    hook would cost.
    """
    meter.calls += 1
    began = perf_counter_ns()
    try:
        awaited = coroutine.send(None)
    except StopIteration as finished:
        spent = perf_counter_ns() - began  # as `add` does, without the call
        meter.spent_ns += spent
        if spent > meter.usual_ns:
            meter.note(spent)
        return finished.value  # type: ignore[no-any-return]  # what a coroutine returns travels untyped
    except BaseException as error:
        meter.add(perf_counter_ns() - began)
        contain(error)
        raise
    meter.add(perf_counter_ns() - began)
    meter.waiting += 1
    try:
        async with asyncio.timeout(seconds):
            try:
                return await _Begun(coroutine, awaited, meter)
            except BaseException as error:
                contain(error)
                raise
    finally:
        meter.waiting -= 1


def share_until(moment: float | None, most: float) -> float:
    """Seconds for one of several in a row: half of what is left until that moment (of `time.monotonic`), so that the next have time, too."""
    return most if moment is None else min(most, max(0.01, (moment - monotonic()) / 2))


def contain(error: BaseException) -> None:
    """Raises the failure that stands for an error of a plugin's coroutine (see `failure`), if another one does."""
    failed = failure(error)
    if failed is not error:
        raise failed  # its cause is set


def failure(error: BaseException) -> BaseException:
    """The failure that stands for what would end more than the hook: the process, or a request that nobody cancelled. Else `error` itself.

    A plugin that awaits a task of its own which was cancelled gets `CancelledError`, which here would look like a caller who has left.
    """
    stands: BaseException = error
    if isinstance(error, SystemExit):
        stands = RuntimeError("it tried to end the process")
    elif isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            stands = RuntimeError("what it waited for was cancelled")
    if stands is not error:
        stands.__cause__ = error
        stands.__traceback__ = error.__traceback__  # the log tells where an exception happened, not where its cause did
    return stands


class _Begun(Awaitable[T]):
    """A coroutine that has been run up to its first wait, to be awaited from there."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], awaited: Any, meter: Meter) -> None:
        self._coroutine = coroutine
        self._awaited = awaited
        self._meter = meter

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
