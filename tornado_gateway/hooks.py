"""The plugins that are on, and how their hooks are called: in order, awaited, each with its own rule for failures.

pluggy registers, checks and orders the implementations; the coroutines are called from the lists that it gives. Its own
multi-call is not used: it creates the coroutines of all plugins before the first is awaited, and costs a request more than the hooks
themselves do (docs/decisions/0002-hooks-are-called-from-lists.md).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

import pluggy

from tornado_gateway.budget import within
from tornado_gateway.context import Context, Outcome, Principal
from tornado_gateway.errors import AuthUnavailable, GatewayError, UpstreamUnavailable
from tornado_gateway.hookspecs import (
    GROUP,
    Answer,
    Forward,
    GatewayHooks,
    Release,
    Route,
    ServerFacts,
    StartupRefused,
    Transform,
)
from tornado_gateway.log import get_logger
from tornado_gateway.wire.ollama import NativeCall, Record

ANONYMOUS = Principal("anonymous")
BUDGET_SECONDS = 5.0
"""How long `authenticate`, `finished`, `reconfigure` and `shutdown` of one plugin may take."""

_log = get_logger(__name__)


class _Implementation(NamedTuple):
    plugin: str
    call: Callable[..., Any]


class Hooks:
    """The hooks of one gateway. Raises `StartupRefused` for a plugin that does not keep to the contract."""

    def __init__(self, plugins: Sequence[tuple[str, object]]) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(GatewayHooks)
        # pluggy calls the last registered first; registered from the end, the order of the configuration is the order of the calls.
        for name, plugin in reversed(plugins):
            self._manager.register(plugin, name)
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise StartupRefused(f"plugin {error.plugin}: {error}") from error
        self.plugins = tuple(name for name, _ in plugins)
        self._authenticate = self._implementations("authenticate")
        self._admit = self._implementations("admit")
        self._answer = self._implementations("answer")
        self._dispatch = self._implementations("dispatch")
        self._transform = self._implementations("transform")
        self._ready = self._implementations("ready")
        self._answered = self._implementations("answered")[::-1]
        self._finished = self._implementations("finished")[::-1]
        self._started: list[str] = []

    @property
    def authenticates(self) -> bool:
        """Whether any plugin asks who calls."""
        return bool(self._authenticate)

    @property
    def wants_answers(self) -> bool:
        """Whether any plugin wants to see whole answers, so that they are worth keeping until they are whole."""
        return bool(self._answered)

    async def startup(self, server: ServerFacts) -> None:
        """Start the plugins; when one refuses, those that had started are shut down."""
        starters = dict(self._implementations("startup"))
        for plugin in self.plugins:
            try:
                if plugin in starters:
                    await starters[plugin](server)
            except BaseException as error:
                await self.shutdown()
                if isinstance(error, StartupRefused | asyncio.CancelledError):
                    raise
                raise StartupRefused(f"plugin {plugin} did not start: {error}") from error
            self._started.append(plugin)

    async def reconfigure(self, settings: dict[str, Any]) -> None:
        """Hand each plugin its new settings, by name."""
        able = dict(self._implementations("reconfigure"))
        for plugin in self.plugins:
            if plugin not in settings:
                continue
            if plugin in able:
                await self._isolated("reconfigure", plugin, able[plugin](settings[plugin]))
            else:
                _log.warning("plugin_keeps_settings", plugin=plugin, reason="it has no hook `reconfigure`")

    async def shutdown(self) -> None:
        """Stop the plugins that have started, the last first."""
        enders = dict(self._implementations("shutdown"))
        while self._started:
            plugin = self._started.pop()
            if plugin in enders:
                await self._isolated("shutdown", plugin, enders[plugin]())

    async def authenticate(self, context: Context) -> Principal:
        """Who asks; raises `AuthenticationFailed`, or `AuthUnavailable` when nobody could tell."""
        for plugin, call in self._authenticate:
            try:
                principal = await within(BUDGET_SECONDS, call(context))
            except GatewayError:
                raise
            except Exception as error:
                _log.error("hook_failed", plugin=plugin, hook="authenticate", exc_info=error)
                raise AuthUnavailable("Keys cannot be checked at the moment.", retry_after=1) from error
            if isinstance(principal, Principal):
                return principal
            if principal is not None:
                _log.error("hook_answered_nonsense", plugin=plugin, hook="authenticate", kind=type(principal).__name__)
                raise AuthUnavailable("Keys cannot be checked at the moment.", retry_after=1)
        if not self._authenticate:
            return ANONYMOUS
        raise AuthUnavailable("Keys cannot be checked at the moment.", retry_after=1)

    async def admit(self, context: Context) -> None:
        """Ask every plugin whether this caller may ask this."""
        for plugin, call in self._admit:
            try:
                await call(context)
            except GatewayError:
                raise
            except Exception as error:
                raise self._closed_door("admit", plugin, error) from error

    async def answer(self, context: Context, call: NativeCall, forward: Forward) -> Answer:
        """The records from the first plugin that has them, else from Ollama."""
        for plugin, ask in self._answer:
            try:
                answer: Answer | None = await ask(context, call, forward)
            except GatewayError:
                raise
            except Exception as error:  # noqa: BLE001  # a broken cache costs time, not answers
                _log.error("hook_failed", plugin=plugin, hook="answer", exc_info=error)
                continue
            if answer is not None:
                return answer
        return forward()

    async def transforms(self, context: Context, call: NativeCall) -> list[tuple[str, Transform]]:
        """The functions that change the records of a call, by plugin, in order."""
        functions: list[tuple[str, Transform]] = []
        for plugin, ask in self._transform:
            try:
                function = await ask(context, call)
            except GatewayError:
                raise
            except Exception as error:  # noqa: BLE001  # counts as nothing to change
                _log.error("hook_failed", plugin=plugin, hook="transform", exc_info=error)
                continue
            if function is not None:
                functions.append((plugin, function))
        return functions

    def transformed(self, record: Record, functions: Sequence[tuple[str, Transform]]) -> Record:
        """A record after every function; one that fails or gives nonsense changes nothing."""
        for plugin, function in functions:
            try:
                changed = function(record)
            except GatewayError:
                raise
            except Exception as error:  # noqa: BLE001  # counts as nothing to change
                _log.error("hook_failed", plugin=plugin, hook="transform", exc_info=error)
                continue
            if isinstance(changed, Record):
                record = changed
            else:
                _log.error("hook_answered_nonsense", plugin=plugin, hook="transform", kind=type(changed).__name__)
        return record

    def routes(self) -> list[tuple[str, Route]]:
        """The plugins' own addresses, by plugin."""
        return [(plugin, route) for plugin, call in self._implementations("routes") for route in call()]

    async def unready(self) -> str | None:
        """Why a plugin cannot do its work now; None when all can."""
        for plugin, call in self._ready:
            try:
                reason: str | None = await within(BUDGET_SECONDS, call())
            except Exception as error:  # noqa: BLE001  # not ready, whatever the reason
                _log.error("hook_failed", plugin=plugin, hook="ready", exc_info=error)
                reason = "it failed"
            if reason is not None:
                return f"{plugin}: {reason}"
        return None

    async def dispatch(self, context: Context, call: NativeCall, places: list[Release]) -> None:
        """Wait for a place with every plugin; what they give is added to `places` at once, so that nothing given is lost."""
        for plugin, ask in self._dispatch:
            try:
                release = await ask(context, call)
            except GatewayError:
                raise
            except Exception as error:
                raise self._closed_door("dispatch", plugin, error) from error
            if release is not None:
                places.append(release)

    def release(self, places: list[Release]) -> None:
        """Give places back, the last first, each once."""
        while places:
            try:
                places.pop()()
            except Exception as error:  # noqa: BLE001  # the other places must be given back all the same
                _log.error("hook_failed", hook="dispatch", exc_info=error)

    async def answered(self, context: Context, call: NativeCall, answer: Record) -> None:
        """Show the whole answer to those who want it."""
        for plugin, tell in self._answered:
            try:
                await tell(context, call, answer)
            except Exception as error:  # noqa: BLE001  # fails open: the caller has a right to the answer
                _log.error("hook_failed", plugin=plugin, hook="answered", exc_info=error)

    async def finished(self, context: Context, outcome: Outcome) -> None:
        """Tell every plugin how the request ended, whatever the others do."""
        for plugin, tell in self._finished:
            await self._isolated("finished", plugin, tell(context, outcome))

    async def _isolated(self, hook: str, plugin: str, call: Coroutine[Any, Any, Any]) -> None:
        try:
            await within(BUDGET_SECONDS, call)
        except Exception as error:  # noqa: BLE001  # one plugin's failure is not another's
            _log.error("hook_failed", plugin=plugin, hook=hook, exc_info=error)

    def _closed_door(self, hook: str, plugin: str, error: Exception) -> GatewayError:
        _log.error("hook_failed", plugin=plugin, hook=hook, exc_info=error)
        return UpstreamUnavailable("The request cannot be admitted at the moment.", retry_after=1)

    def _implementations(self, hook: str) -> list[_Implementation]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return [_bind(caller, implementation) for implementation in reversed(caller.get_hookimpls())]

    def implemented(self, plugin: str) -> list[str]:
        """The names of the hooks that a plugin implements, in the order of a request's life."""
        callers = self._manager.get_hookcallers(self._manager.get_plugin(plugin)) or []
        named = {caller.name for caller in callers}
        return [name for name in vars(GatewayHooks) if name in named]


def _bind(caller: pluggy.HookCaller, implementation: Any) -> _Implementation:
    """The implementation as a function that takes the specification's arguments and passes on those that it names."""
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
        return _Implementation(name, function)
    return _Implementation(name, lambda *arguments: function(*[arguments[index] for index in wanted]))
