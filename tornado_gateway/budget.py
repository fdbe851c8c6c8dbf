"""A time limit for coroutines that hardly ever wait: no timer is set unless the coroutine really suspends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of `coroutine`; raises TimeoutError, and cancels it, when it waits for longer than `seconds`.

    A hook that answers without waiting costs one call instead of a timer, which is most of what such a hook would cost.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    async with asyncio.timeout(seconds):
        return await _Begun(coroutine, awaited)


class _Begun(Awaitable[T]):
    """A coroutine that has been run up to its first wait, to be awaited from there."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, T]:
        coroutine, awaited = self._coroutine, self._awaited
        try:
            while True:
                try:
                    sent = yield awaited
                except BaseException as error:  # noqa: BLE001  # whatever is thrown in belongs to the coroutine
                    awaited = coroutine.throw(error)
                else:
                    awaited = coroutine.send(sent)
        except StopIteration as finished:
            result: T = finished.value
            return result
