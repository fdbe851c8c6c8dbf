"""The models that are loaded, and who waits for what: a load, a reload, a slot.

As in Ollama: one load at a time, a bound on those who wait for one, no bound on those who wait for a slot of a loaded model,
served in order of arrival. Whoever leaves, at any moment, gives back what it holds.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tornado_gateway.testing.ledger import Ledger
from tornado_gateway.testing.models import FakeModel, details
from tornado_gateway.testing.records import timestamp
from tornado_gateway.testing.refusals import queue_full

_FOR_EVER = 292 * 365 * 86400.0


@dataclass(slots=True)
class _Runner:
    """One loaded model."""

    model: FakeModel
    load_time: Mapping[str, Any]
    keep_alive: float
    expires_at: float
    busy: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


@dataclass(slots=True)
class Place:
    """A slot on a loaded model; `release` gives it back, once."""

    runners: Runners
    runner: _Runner
    loaded_in: int = 0
    """Nanoseconds that loading took for this request; 0 when the model was there."""
    _held: bool = True

    def release(self) -> None:
        if self._held:
            self._held = False
            self.runners._leave(self.runner)


class Runners:
    """All loaded models. `num_parallel` is the number of slots of each; None means no bound."""

    def __init__(self, ledger: Ledger, num_parallel: int | None, max_queue: int, keep_alive: float) -> None:
        self.num_parallel = num_parallel
        self.max_queue = max_queue
        self.keep_alive = keep_alive
        self._ledger = ledger
        self._loaded: dict[str, _Runner] = {}
        self._loader = asyncio.Lock()
        self._waiting_for_load = 0

    def place_now(self, model: FakeModel, load_time: Mapping[str, Any], keep_alive: float | None, load: float) -> Place | None:
        """A place that takes no waiting, or None."""
        runner = self._running(model, load_time)
        loaded_in = 0
        if runner is None:
            if load > 0 or self._loader.locked():
                return None
            started = time.monotonic_ns()
            runner = self._load(model, load_time)
            loaded_in = max(time.monotonic_ns() - started, 1)
        if self._full(runner):
            return None
        runner.busy += 1
        return self._placed(runner, keep_alive, loaded_in)

    async def place(self, model: FakeModel, load_time: Mapping[str, Any], keep_alive: float | None, load: float) -> Place:
        """Wait for the load and for a slot. Raises `Refusal` (503) when too many wait for a load."""
        runner = self._running(model, load_time)
        loaded_in = 0
        if runner is None:
            started = time.monotonic_ns()
            runner = await self._loaded_in_turn(model, load_time, load)
            loaded_in = max(time.monotonic_ns() - started, 1)
        if self._full(runner):
            await self._wait_for_slot(runner)
        else:
            runner.busy += 1
        return self._placed(runner, keep_alive, loaded_in)

    def unload(self, model: FakeModel) -> None:
        self._loaded.pop(model.full_name, None)

    def clear(self) -> None:
        self._loaded.clear()

    def ps(self) -> dict[str, Any]:
        """`/api/ps`: what is loaded, the one that stays longest first."""
        now = time.monotonic()
        self._loaded = {name: runner for name, runner in self._loaded.items() if runner.expires_at > now or runner.busy}
        runners = sorted(self._loaded.values(), key=lambda runner: -runner.expires_at)
        return {"models": [_listed(runner, time.time_ns() + round((runner.expires_at - now) * 1e9)) for runner in runners]}

    def _running(self, model: FakeModel, load_time: Mapping[str, Any]) -> _Runner | None:
        runner = self._loaded.get(model.full_name)
        if runner is None or runner.model != model or runner.load_time != load_time:
            return None
        return runner if runner.busy or runner.expires_at > time.monotonic() else None

    async def _loaded_in_turn(self, model: FakeModel, load_time: Mapping[str, Any], load: float) -> _Runner:
        if self._loader.locked():
            if self._waiting_for_load >= self.max_queue:
                raise queue_full()
            self._waiting_for_load += 1
            try:
                await self._loader.acquire()
            finally:
                self._waiting_for_load -= 1
        else:
            await self._loader.acquire()
        try:
            runner = self._running(model, load_time)
            if runner is None:
                # A load whose request goes away is given up, as in Ollama: the next in line begins anew.
                await asyncio.sleep(load)
                runner = self._load(model, load_time)
        finally:
            self._loader.release()
        return runner

    def _load(self, model: FakeModel, load_time: Mapping[str, Any]) -> _Runner:
        runner = _Runner(model, dict(load_time), self.keep_alive, time.monotonic() + _seconds(self.keep_alive))
        self._loaded[model.full_name] = runner
        self._ledger.loaded(model.full_name, load_time)
        return runner

    def _full(self, runner: _Runner) -> bool:
        return self.num_parallel is not None and (runner.busy >= self.num_parallel or bool(runner.waiting))

    async def _wait_for_slot(self, runner: _Runner) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        runner.waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                # The slot was handed over in the very turn in which the caller left.
                self._leave(runner)
            else:
                runner.waiting.remove(future)
            raise

    def _placed(self, runner: _Runner, keep_alive: float | None, loaded_in: int) -> Place:
        if keep_alive is not None:
            runner.keep_alive = keep_alive
        runner.expires_at = time.monotonic() + _seconds(runner.keep_alive)
        return Place(self, runner, loaded_in)

    def _leave(self, runner: _Runner) -> None:
        while runner.waiting:
            future = runner.waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
        runner.busy -= 1
        runner.expires_at = time.monotonic() + _seconds(runner.keep_alive)
        if runner.keep_alive == 0 and not runner.busy and self._loaded.get(runner.model.full_name) is runner:
            del self._loaded[runner.model.full_name]


def _seconds(keep_alive: float) -> float:
    return _FOR_EVER if keep_alive < 0 else min(keep_alive, _FOR_EVER)


def _listed(runner: _Runner, expires_at: int) -> dict[str, Any]:
    model = runner.model
    return {
        "name": model.full_name,
        "model": model.full_name,
        "size": model.size + model.size // 8,
        "digest": model.full_digest(),
        "details": details(model),
        "expires_at": timestamp(expires_at),
        "size_vram": 0,
        "context_length": runner.load_time["num_ctx"],
    }
