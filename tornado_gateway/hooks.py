"""The plugins that are on, and how their hooks are called: in order, awaited, each with its own rule for failures.

pluggy registers, checks and orders the implementations; the coroutines are called from the lists that it gives. Its own
multi-call is not used: it creates the coroutines of all plugins before the first is awaited, and costs a request more than the hooks
themselves do (docs/decisions/0002-hooks-are-called-from-lists.md).
"""

from __future__ import annotations

import asyncio
import itertools
import warnings
from collections.abc import AsyncIterable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pluggy

from tornado_gateway.answering import Guarded, Known, Records, check_known
from tornado_gateway.binding import Bound, Place, bind
from tornado_gateway.budget import FAILURES, share_until, within
from tornado_gateway.context import Context, Outcome, Principal
from tornado_gateway.errors import AuthUnavailable, GatewayError
from tornado_gateway.hookspecs import (
    GROUP,
    Forward,
    GatewayHooks,
    Keeper,
    Route,
    ServerFacts,
    Shared,
    StartupRefused,
)
from tornado_gateway.log import get_logger
from tornado_gateway.transforms import Change
from tornado_gateway.wire.ollama import NativeCall, Record, own_copy

ANONYMOUS = Principal("anonymous")
BUDGET_SECONDS = 5.0
"""How long a hook may wait, but for `startup` and `dispatch`."""

_log = get_logger(__name__)


class Hooks:
    """The hooks of one gateway. Raises `StartupRefused` for a plugin that does not keep to the contract."""

    def __init__(self, plugins: Sequence[tuple[str, object]]) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(GatewayHooks)
        # pluggy calls the last registered first; registered from the end, the order of the configuration is the order of the calls.
        self._deprecated: list[tuple[str, str]] = []
        try:
            for name, plugin in reversed(plugins):
                with warnings.catch_warnings(record=True) as told:
                    warnings.simplefilter("always")
                    self._manager.register(plugin, name)
                self._deprecated += [(name, str(warning.message)) for warning in told]
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            reason = " ".join(str(error).split()).partition(" in plugin ")[0]  # what follows is its `repr`
            names = [name for name, plugin in plugins if plugin is error.plugin]
            raise StartupRefused(f"plugin {', '.join(names)}: {reason}") from error
        self.plugins = tuple(name for name, _ in plugins)
        self._all: dict[str, list[Bound]] = {}
        self._authenticate = self._bound("authenticate")
        self._admit = self._bound("admit")
        self._answer = self._bound("answer")
        self._dispatch = self._bound("dispatch")
        self._transform = self._bound("transform")
        self._ready = self._bound("ready")
        self._answered = self._bound("answered")[::-1]
        self.wants_answers = bool(self._answered)
        """Whether any plugin wants to see whole answers, so that they are worth keeping until they are whole."""
        self._finished = self._bound("finished")[::-1]
        self._started: list[str] = []

    @property
    def authenticates(self) -> bool:
        """Whether any plugin asks who calls."""
        return bool(self._authenticate)

    def keepers(self) -> dict[str, Keeper]:
        """What the plugins keep for the workers of one server, by plugin."""
        found: dict[str, Keeper] = {}
        for bound in self._bound("keeper"):
            try:
                keeper = bound.call()
            except Exception as error:
                raise StartupRefused(f"plugin {bound.plugin} cannot say what keeps what its workers share: {error}") from error
            if isinstance(keeper, Keeper):
                found[bound.plugin] = keeper
            elif keeper is not None:
                raise StartupRefused(f"plugin {bound.plugin}: {type(keeper).__name__} is not a Keeper")
        return found

    async def startup(self, server: ServerFacts, shared: Callable[[str], Shared] | None = None) -> None:
        """Start the plugins; when one refuses, those that had started are shut down."""
        starters, keeping = self._by_plugin("startup"), self._by_plugin("keeper")
        for plugin in self.plugins:
            try:
                if plugin in starters:
                    line = shared(plugin) if shared and plugin in keeping else None
                    await self._start(starters[plugin], replace(server, shared=line))
            except BaseException as error:
                await self.shutdown()
                if isinstance(error, StartupRefused | asyncio.CancelledError):
                    raise
                raise StartupRefused(f"plugin {plugin} did not start: {error or type(error).__name__}") from error
            self._started.append(plugin)
        for plugin, reason in self._deprecated:  # now that a plugin which writes the log has started
            _log.warning("hook_deprecated", plugin=plugin, reason=reason)

    async def _start(self, bound: Bound, server: ServerFacts) -> None:
        warning = asyncio.get_running_loop().call_later(BUDGET_SECONDS, bound.waits, BUDGET_SECONDS)
        try:
            await within(None, bound.call(server), bound.meter)
        finally:
            warning.cancel()

    async def reconfigure(self, settings: dict[str, Any]) -> tuple[str, ...]:
        """Hand each plugin its new settings, by name; the answer names those that did not take them."""
        able, behind = self._by_plugin("reconfigure"), []
        for plugin in filter(settings.__contains__, self.plugins):
            if plugin not in able:
                _log.warning("plugin_keeps_settings", plugin=plugin, reason="it has no hook `reconfigure`")
            elif await self._isolated(able[plugin], able[plugin].call(settings[plugin])):
                continue
            behind.append(plugin)
        return tuple(behind)

    async def shutdown(self, until: float | None = None) -> None:
        """Stop the plugins that have started, the last first; `until` is the moment at which the process ends."""
        for bound in itertools.chain(*self._all.values()):
            bound.tell_unfinished()
        times = {hook: spent for hook, spent in self.times().items() if not hook.endswith(".startup")}
        if self._started and times:
            each = {hook: round(spent["ms"] * 1000 / spent["calls"], 1) for hook, spent in times.items()}
            failures = {hook: spent["failures"] for hook, spent in times.items() if spent["failures"]}
            _log.info("hook_times", us_per_call=each, failures=failures)
        enders = self._by_plugin("shutdown")
        while self._started:
            plugin = self._started.pop()
            if plugin in enders:
                await self._isolated(enders[plugin], enders[plugin].call(), share_until(until, BUDGET_SECONDS))

    async def authenticate(self, context: Context) -> Principal:
        """Who asks; raises `AuthenticationFailed`, or `AuthUnavailable` when nobody could tell."""
        for bound in self._authenticate:
            try:
                principal = await within(BUDGET_SECONDS, bound.call(context), bound.meter)
            except GatewayError:
                raise
            except Exception as error:
                bound.failed(error)
                raise AuthUnavailable("Keys cannot be checked at the moment.", retry_after=1) from error
            if isinstance(principal, Principal):
                return principal
            if principal is not None:
                bound.answered_nonsense(principal)
                raise AuthUnavailable("Keys cannot be checked at the moment.", retry_after=1)
        if not self._authenticate:
            return ANONYMOUS
        raise AuthUnavailable("Keys cannot be checked at the moment.", retry_after=1)

    async def admit(self, context: Context) -> None:
        """Ask every plugin whether this caller may ask this."""
        for bound in self._admit:
            try:
                answer = await within(BUDGET_SECONDS, bound.call(context), bound.meter)
            except GatewayError:
                raise
            except Exception as error:
                bound.failed(error)
                raise _closed_door() from error
            if answer is not None:  # False may be meant as a refusal
                bound.answered_nonsense(answer)
                raise _closed_door()

    async def answer(self, context: Context, call: NativeCall, forward: Forward) -> Records | Known:
        """The records from the first plugin that has them, else from Ollama."""
        for bound in self._answer:
            try:
                answer: object = await within(BUDGET_SECONDS, bound.call(context, call, forward), bound.meter)
                if isinstance(answer, list | tuple) and answer:
                    check_known(answer)
                    return answer
                if isinstance(answer, AsyncIterable):
                    return Guarded(bound, aiter(answer), forward)
            except GatewayError:
                raise
            except Exception as error:  # noqa: BLE001  # a broken cache costs time, not answers
                bound.failed(error)
                continue
            if answer is not None:
                bound.answered_nonsense(answer)
        return forward()

    async def transforms(self, context: Context, call: NativeCall) -> list[Change]:
        """The functions that change the records of a call, in order: for `transforms.transformed`."""
        changes: list[Change] = []
        for bound in self._transform:
            try:
                function = await within(BUDGET_SECONDS, bound.call(context, call), bound.meter)
            except GatewayError:
                raise
            except Exception as error:  # noqa: BLE001  # counts as nothing to change
                bound.failed(error)
                continue
            if callable(function):
                changes.append(Change(bound, function))
            elif function is not None:
                bound.answered_nonsense(function)
        return changes

    def routes(self) -> list[tuple[str, Route]]:
        """The plugins' own addresses, by plugin. Raises `StartupRefused` for a plugin that cannot say."""
        found: list[tuple[str, Route]] = []
        for bound in self._bound("routes"):
            try:
                routes = list(bound.call())
            except Exception as error:
                raise StartupRefused(f"plugin {bound.plugin} cannot say which routes it has: {error}") from error
            for route in routes:
                if not isinstance(route, Route):
                    raise StartupRefused(f"plugin {bound.plugin}: {type(route).__name__} is not a Route")
                found.append((bound.plugin, route))
        return found

    async def unready(self) -> str | None:
        """Why a plugin cannot do its work now; None when all can."""
        for bound in self._ready:
            try:
                reason = await within(BUDGET_SECONDS, bound.call(), bound.meter)
            except Exception as error:  # noqa: BLE001  # not ready, whatever the reason
                bound.failed(error)
                reason = "it failed"
            if reason is not None and not isinstance(reason, str):
                bound.answered_nonsense(reason)
                reason = "it cannot say"
            if reason is not None:
                return f"{bound.plugin}: {reason}"
        return None

    async def dispatch(self, context: Context, call: NativeCall, places: list[Place]) -> None:
        """Wait for a place with every plugin; what they give is added to `places` at once, so that nothing given is lost."""
        for bound in self._dispatch:
            try:
                release = await within(None, bound.call(context, call), bound.meter)
            except GatewayError:
                raise
            except Exception as error:
                bound.failed(error)
                raise _closed_door() from error
            if callable(release):
                places.append((bound, release))
            elif release is not None:
                bound.answered_nonsense(release)
                raise _closed_door()

    def release(self, places: list[Place]) -> None:
        """Give places back, the last first, each once."""
        while places:
            bound, release = places.pop()
            try:
                given: object = release()
            except FAILURES as error:  # the other places must be given back all the same
                bound.failed(error)
                continue
            if given is not None and isinstance(given, Coroutine):  # of an `async def` nothing has run: it gave nothing back
                bound.answered_nonsense(given)

    async def answered(self, context: Context, call: NativeCall, answer: Record) -> None:
        """Show the whole answer to those who want it, each a copy of its own."""
        for bound in self._answered:
            await self._isolated(bound, bound.call(context, call, own_copy(answer)))

    async def finished(self, context: Context, outcome: Outcome) -> None:
        """Tell every plugin how the request ended, whatever the others do."""
        for bound in self._finished:
            await self._isolated(bound, bound.call(context, outcome))

    async def _isolated(self, bound: Bound, call: Coroutine[Any, Any, Any], seconds: float | None = None) -> bool:
        """Whether it went well."""
        try:
            await within(seconds or BUDGET_SECONDS, call, bound.meter)
        except Exception as error:  # noqa: BLE001  # one plugin's failure is not another's
            bound.failed(error)
            return False
        return True

    def _bound(self, hook: str) -> list[Bound]:
        if hook not in self._all:
            caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
            self._all[hook] = [bind(caller, implementation) for implementation in reversed(caller.get_hookimpls())]
        return self._all[hook]

    def _by_plugin(self, hook: str) -> dict[str, Bound]:
        return {bound.plugin: bound for bound in self._bound(hook)}

    def plugin(self, name: str) -> object:
        """The plugin itself."""
        return self._manager.get_plugin(name)

    def times(self) -> dict[str, dict[str, float]]:
        """What each hook that was called has cost so far, by `plugin.hook`: calls, failures, milliseconds of its own in all and at a stretch."""
        return {
            f"{bound.plugin}.{hook}": {
                "calls": bound.meter.calls,
                "failures": bound.meter.failures,
                "ms": bound.meter.spent_ns / 1e6,
                "longest_ms": bound.meter.longest_ns / 1e6,
            }
            for hook, bounds in self._all.items()
            for bound in bounds
            if bound.meter.calls
        }


def _closed_door() -> GatewayError:
    return AuthUnavailable("The request cannot be admitted at the moment.", retry_after=1)
