"""One plugin's implementation of one hook, ready to be called: with the arguments that it names, a meter, and words for what goes wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import pluggy

from tornado_gateway.budget import Meter
from tornado_gateway.hookspecs import GatewayHooks, Release, StartupRefused
from tornado_gateway.log import get_logger

SLOW_SECONDS = 0.05
"""A stretch of a hook's own time, in which nobody else could run, that is worth a warning."""
WARN_EVERY_SECONDS = 10.0
"""A hook that is slow at every request is not worth a line for each."""

_log = get_logger(__name__)


@dataclass(slots=True)
class Bound:
    """A hook of a plugin. `call` takes the arguments of the specification, whichever the plugin asks for."""

    plugin: str
    hook: str
    call: Callable[..., Any]
    meter: Meter = field(init=False)
    _warned: float | None = None
    _slow: int = 0

    def __post_init__(self) -> None:
        self.meter = Meter(int(SLOW_SECONDS * 1e9), self._was_slow)

    def failed(self, error: BaseException) -> None:
        """It raised, or took too long."""
        self.meter.failures += 1
        _log.error("hook_failed", plugin=self.plugin, hook=self.hook, exc_info=error)

    def answered_nonsense(self, answer: object) -> None:
        """It gave what the specification does not allow."""
        self.meter.failures += 1
        if isinstance(answer, Coroutine):
            answer.close()  # nobody will await it, and Python would say so on standard error
        _log.error("hook_answered_nonsense", plugin=self.plugin, hook=self.hook, kind=type(answer).__name__)

    def waits(self, seconds: float) -> None:
        """It may wait, but for so long that somebody should know."""
        _log.warning("hook_waits", plugin=self.plugin, hook=self.hook, seconds=seconds)

    def tell_unfinished(self) -> None:
        """Say that calls are waiting for whose end nobody will wait."""
        if self.meter.waiting:
            _log.error("hook_unfinished", plugin=self.plugin, hook=self.hook, times=self.meter.waiting)

    def _was_slow(self, spent_ns: int) -> None:
        self._slow += 1
        now = monotonic()
        if self._warned is None or now - self._warned >= WARN_EVERY_SECONDS:
            _log.warning("hook_slow", plugin=self.plugin, hook=self.hook, ms=round(spent_ns / 1e6, 1), times=self._slow)
            self._warned, self._slow = now, 0


Place = tuple[Bound, Release]
"""What a plugin's `dispatch` gave, and whose it is."""


def bind(caller: pluggy.HookCaller, implementation: Any) -> Bound:
    """An implementation as pluggy found it. Raises `StartupRefused` when it cannot be called as the contract says."""
    name, function = implementation.plugin_name, implementation.function
    if implementation.hookwrapper or implementation.wrapper:
        raise StartupRefused(f"plugin {name}: hook {caller.name} is a wrapper; wrappers cannot span an await")
    specified = getattr(GatewayHooks, caller.name)
    if inspect.iscoroutinefunction(function) != inspect.iscoroutinefunction(specified):
        kind = "`async def`" if inspect.iscoroutinefunction(specified) else "a plain `def`"
        raise StartupRefused(f"plugin {name}: hook {caller.name} must be {kind}")
    offered = caller.spec.argnames if caller.spec else ()
    wanted = [offered.index(argument) for argument in implementation.argnames]
    if wanted == list(range(len(offered))):
        return Bound(name, caller.name, function)
    return Bound(name, caller.name, lambda *arguments: function(*[arguments[index] for index in wanted]))
