"""The parent's side of what workers share: the plugins' keepers, and one desk for each worker at which its calls are taken."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tornado_gateway.hookspecs import Keeper, ServerFacts
from tornado_gateway.log import get_logger

MOST_CALLS = 10_000
"""Calls of one worker that may be at work at once: a worker has fewer connections."""

_OWN = frozenset(name for name in dir(Keeper))

Answer = Callable[[list[Any]], object]

_log = get_logger(__name__)


class Keepers:
    """All keepers of one server, by plugin."""

    def __init__(self, keepers: Mapping[str, Keeper]) -> None:
        self._keepers = keepers
        self._started: list[Keeper] = []

    async def start(self, server: ServerFacts) -> None:
        """Start all, or none: those that had started are stopped when one refuses."""
        for keeper in self._keepers.values():
            try:
                await keeper.start(server)
            except BaseException:
                await self.stop()
                raise
            self._started.append(keeper)

    async def reconfigure(self, settings: Mapping[str, Any]) -> None:
        for plugin, keeper in self._keepers.items():
            if plugin in settings:
                await self._isolated(plugin, "reconfigure", keeper.reconfigure, settings[plugin])

    async def stop(self) -> None:
        """The last first: the logs, usually configured first, hear of the others' ends."""
        names = {keeper: plugin for plugin, keeper in self._keepers.items()}
        while self._started:
            keeper = self._started.pop()
            await self._isolated(names[keeper], "stop", keeper.stop)

    def desk(self, life: int, answer: Answer) -> Desk:
        """For the worker with this life; `answer` sends it a message."""
        return Desk(self, life, answer)

    def method(self, plugin: str, name: str) -> Callable[..., Any]:
        """Raises `LookupError` for what a worker cannot ask."""
        keeper = self._keepers[plugin]
        if name.startswith("_") or name in _OWN:
            raise LookupError(name)
        found: Callable[..., Any] | None = getattr(keeper, name, None)
        if found is None:
            raise LookupError(name)
        return found

    async def gone(self, life: int) -> None:
        for plugin, keeper in self._keepers.items():
            await self._isolated(plugin, "gone", keeper.gone, life)

    async def _isolated(self, plugin: str, method: str, call: Callable[..., Any], *args: Any) -> None:
        try:
            await call(*args)
        except Exception as error:  # noqa: BLE001  # one keeper's failure is not another's
            _log.error("keeper_failed", plugin=plugin, method=method, exc_info=error)


class Desk:
    """Takes one worker's calls, in the order in which they come."""

    def __init__(self, keepers: Keepers, life: int, answer: Answer) -> None:
        self._keepers = keepers
        self._life = life
        self._answer = answer
        self._running: dict[int, asyncio.Task[Any]] = {}

    def call(self, number: int, plugin: str, method: str, args: list[Any]) -> None:
        """Answer with what the method gives; a coroutine runs beside the others."""
        if len(self._running) >= MOST_CALLS:
            self._answer(["failure", number, "The parent process has too much to do."])
            return
        try:
            given = self._keepers.method(plugin, method)(self._life, *args)
        except Exception as error:  # noqa: BLE001  # the worker is told; its plugin decides what that means
            self._fail(number, plugin, method, error)
            return
        if inspect.iscoroutine(given):
            task = asyncio.get_running_loop().create_task(given)
            self._running[number] = task
            task.add_done_callback(lambda done: self._done(number, plugin, method, done))
        else:
            self._answer(["answer", number, given])

    def tell(self, plugin: str, method: str, args: list[Any]) -> None:
        """As `call`, for a worker that does not wait for an answer."""
        try:
            given = self._keepers.method(plugin, method)(self._life, *args)
            if inspect.iscoroutine(given):
                given.close()
                raise TypeError("a method that is told must not be a coroutine")
        except Exception as error:  # noqa: BLE001  # as above
            _log.error("keeper_failed", plugin=plugin, method=method, exc_info=error)

    def cancel(self, number: int) -> None:
        task = self._running.get(number)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """The worker has ended: its calls are cancelled, and the keepers are told."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._keepers.gone(self._life)

    def _done(self, number: int, plugin: str, method: str, task: asyncio.Task[Any]) -> None:
        del self._running[number]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._answer(["answer", number, task.result()])
        else:
            self._fail(number, plugin, method, error)

    def _fail(self, number: int, plugin: str, method: str, error: BaseException) -> None:
        _log.error("keeper_failed", plugin=plugin, method=method, exc_info=error)
        self._answer(["failure", number, f"{plugin}: {method} failed in the parent process ({type(error).__name__})."])
