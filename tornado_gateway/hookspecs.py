"""The contract between the gateway and its plugins, and all that a plugin may import.

A plugin is a class with a nested pydantic model `Settings`; the gateway builds it as `Class(settings)`, once. It is
published as an entry point of the group `tornado_gateway` and switched on by its entry point's name in `config.yaml`:

    from tornado_gateway.hookspecs import Context, InvalidRequest, hookimpl
    from pydantic import BaseModel

    class Quiet:
        class Settings(BaseModel):
            words: tuple[str, ...] = ("please",)

        def __init__(self, settings: Settings) -> None:
            self._words = settings.words

        @hookimpl
        async def admit(self, context: Context) -> None:
            if context.model in self._words:
                raise InvalidRequest("Not so loud.", param="model")

Hooks are coroutines and refuse by raising one of this module's errors. They are called in the order in which the
configuration lists the plugins, `answered` and `finished` in the opposite order. A hook may take fewer arguments than the
specification names. What a hook must not do is block: it runs on the event loop that serves everybody. It may wait, but
for no longer than five seconds, unless its docstring says otherwise.

A request with several native calls (`n` choices, a list of prompts) asks `admit` once, `answer` and `dispatch` for each
native call, and `finished` once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pluggy

from tornado_gateway.context import Context, Outcome, Principal, Usage
from tornado_gateway.errors import (
    AuthenticationFailed,
    AuthUnavailable,
    ConcurrencyLimit,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    NotCached,
    Overloaded,
    RateLimitExceeded,
    RequestTooLarge,
    UnsupportedValue,
)
from tornado_gateway.wire.ollama import Message, NativeCall, Record, ToolCall, decode_records, encode_records

__all__ = [
    "Answer",
    "AuthUnavailable",
    "AuthenticationFailed",
    "ConcurrencyLimit",
    "Context",
    "Forward",
    "GatewayError",
    "InvalidRequest",
    "Keeper",
    "Message",
    "ModelNotFound",
    "NativeCall",
    "NotCached",
    "Outcome",
    "Overloaded",
    "PluginRequest",
    "PluginResponse",
    "Principal",
    "RateLimitExceeded",
    "Record",
    "Release",
    "RequestTooLarge",
    "Route",
    "ServerFacts",
    "Shared",
    "SharedUnavailable",
    "StartupRefused",
    "ToolCall",
    "Transform",
    "UnsupportedValue",
    "Usage",
    "decode_records",
    "encode_records",
    "hookimpl",
]

GROUP = "tornado_gateway"
"""The entry-point group, and pluggy's project name."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks a method of a plugin as the implementation of the hook of the same name."""

Answer = AsyncIterable[Sequence[Record]] | Sequence[Record]
"""The records of an answer: as they come, those that came together in one batch, or a list of them all. The last record has `done: true`."""

Forward = Callable[[], AsyncGenerator[Sequence[Record], None]]
"""The rest of the road: waits for a place, asks Ollama, gives its records. May be called once, and from a task of the plugin's own."""

Release = Callable[[], None]
"""Gives a place back."""

Transform = Callable[[Record], Record]
"""Changes the records of one native call on their way to the caller, one after the other. Text may be held back, but must be let go
with the record that has `done: true` at the latest: that record may carry text."""


@dataclass(frozen=True, slots=True)
class PluginRequest:
    """A request to a plugin's own route."""

    context: Context
    method: str
    path: str
    """What follows `/plugins/NAME` in the address."""
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class PluginResponse:
    """The answer of a plugin's own route. A `body` that is not bytes is sent as JSON; with 204 and 304 none is sent.

    A status outside 200 to 599, or a content type that cannot stand in a header, counts as an exception of the handler's.
    """

    body: Any = b""
    status: int = 200
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Route:
    """An address of a plugin's own: `path` begins with a slash and stands below `/plugins/NAME`."""

    path: str
    handler: Callable[[PluginRequest], Awaitable[PluginResponse]]
    methods: frozenset[str] = frozenset({"GET"})
    authenticated: bool = True
    """Whether a key is asked for, as at any other address."""


class Shared(Protocol):
    """A worker's line to its plugin's keeper in the parent process (see the hook `keeper`). Values are numbers, texts, bytes, lists and mappings."""

    worker: int
    """The worker's number among those that serve at the same time, from 0."""

    async def call(self, method: str, *args: Any, seconds: float | None = 5.0) -> Any:
        """What the keeper's method gives. Raises `SharedUnavailable` when it raised or did not answer in time; cancelling it cancels the method.

        `seconds` of None waits as long as the parent lives.
        """
        ...

    def tell(self, method: str, *args: Any) -> bool:
        """Have the method called, after all that was said before; never waits. False when it could not be said: the parent is too far behind."""
        ...


class SharedUnavailable(Exception):
    """The parent process could not do what a worker asked of it."""


class Keeper:
    """What the workers of one server share of a plugin; it lives in the parent process.

    Methods beyond these four may be called by the plugin's workers, by name; plain or coroutines, their first argument is the number of
    the worker's life: it is never used again, also not for the worker that replaces it.
    """

    async def start(self, server: ServerFacts) -> None:
        """Before the first worker starts. Raise `StartupRefused` with a line for the operator."""

    async def reconfigure(self, settings: Any) -> None:
        """Take new settings, once the workers have taken theirs. Not told where the plugin refused them there."""

    async def gone(self, life: int) -> None:
        """A worker has ended in whatever way: give back what it held."""

    async def stop(self) -> None:
        """After the last worker has ended."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a plugin may know of the server that it lives in."""

    host: str
    """The address to listen at, as configured."""
    port: int
    loopback: bool
    """Whether only this machine can reach that address."""
    announce: Callable[[str], None]
    """Shows a line once to the person who started the server: on the terminal, else on standard error, never in a log."""
    workers: int = 1
    """How many processes serve."""
    shared: Shared | None = None
    """What this worker shares with the other workers of the same server; None where one process serves, or the plugin has no keeper."""


class StartupRefused(Exception):
    """The plugin cannot do its work as configured; the message is one line that says what to change."""


class GatewayHooks:
    """Every moment at which a plugin may speak."""

    @hookspec
    async def startup(self, server: ServerFacts) -> None:
        """Make ready: open files and connections, start background tasks.

        When: once, before the first connection is accepted.
        Order: as configured.
        Raising: the server does not start; plugins that had started are shut down. Raise `StartupRefused` with a line for the operator.
        It may wait for as long as it must; after five seconds a warning names the plugin.
        Guaranteed: no other hook is called before it has returned, and `shutdown` is called if it has.
        """

    @hookspec
    async def reconfigure(self, settings: Any) -> None:
        """Take new settings without losing what is remembered.

        When: on SIGHUP, for each plugin that is on before and after, once the whole new configuration has been found valid.
        `settings` is an instance of the plugin's own `Settings`.
        Raising: is logged; the plugin keeps what it had. A plugin without this hook keeps its old settings, and a warning says so.
        Guaranteed: called on the event loop between other hooks; requests that run keep running.
        """

    @hookspec
    def routes(self) -> Sequence[Route]:  # type: ignore[empty-body]  # a specification
        """Addresses of the plugin's own, below `/plugins/NAME`.

        When: once, when the application is put together, after `startup`. Not a coroutine.
        Order: has no meaning: each plugin has its own part of the addresses.
        An answer: the routes. A request to them passes `authenticate` (unless the route says otherwise) and `finished`, no other hook.
        Raising: the server does not start.
        Guaranteed: an exception of a route's handler is a 500 in the gateway's own words, or the error that it raised if it is one of this module's.
        """

    @hookspec
    def commands(self) -> Sequence[Any]:  # type: ignore[empty-body]  # a specification
        """Commands of the plugin's own for `tornado-gateway`.

        When: when a command is called that the gateway does not have, or `--help`. Not a coroutine; no server runs and `startup` is not called.
        Order: as configured; the first command of a name wins, the gateway's own always.
        An answer: `click.Command`s.
        Raising: is reported in one line.
        Guaranteed: the plugin has been built with its settings.
        """

    @hookspec
    async def ready(self) -> str | None:
        """Say whether the plugin can do its work now: for `/readyz`.

        When: at each request to `/readyz`.
        Order: as configured; every plugin is asked.
        An answer: None, or in a few words why not; then `/readyz` is a 503 that says so. Never a secret: no key is asked for there.
        Raising: counts as not ready, and is logged. So does no answer within five seconds.
        Guaranteed: requests are served all the same.
        """

    @hookspec
    async def shutdown(self) -> None:
        """Put everything away: close files and connections, end background tasks.

        When: once, after the last request has ended.
        Order: opposite to the configured one.
        Raising: is logged. A call that takes longer than five seconds, or than half of what is left until the process ends, is cancelled.
        Guaranteed: no other hook is called after it.
        """

    @hookspec
    def keeper(self) -> Keeper | None:
        """Hold what the workers of one server share, such as counters that must not count double.

        When: once, in the parent process, and only where several workers serve (`serve --workers`). There the plugin is built with its settings, and no
        other hook is called. Not a coroutine.
        Order: has no meaning: each plugin's workers talk to their own keeper.
        An answer: the keeper; the workers reach it by `ServerFacts.shared`. None means "nothing is shared".
        Raising: the server does not start.
        Guaranteed: calls of one worker are begun in the order in which it made them; when a worker ends, calls that still run for it are cancelled,
        and then `gone` is called.
        """

    @hookspec
    async def authenticate(self, context: Context) -> Principal | None:
        """Say who asks.

        When: once per request, when its head has arrived and before its body is read.
        Order: as configured; the first answer that is not None decides, later plugins are not asked.
        An answer: the principal. None means "not my kind of credential"; when every plugin that implements this hook says
        None, the caller gets 503 `auth_unavailable`, since nobody could tell.
        Raising: `AuthenticationFailed` refuses with 401. Any other exception that is not one of this module's errors, an answer
        that is not a `Principal`, or no answer within five seconds is a 503 `auth_unavailable`: the door fails closed.
        Guaranteed: without any plugin that implements this hook everybody is the principal `anonymous`.
        """

    @hookspec
    async def admit(self, context: Context) -> None:
        """Say whether this caller may ask this.

        When: once per request, when the call has been read and the model is known (`context.model`, `context.resolved_model`),
        before anything is looked up or sent. Lists of models do not come here.
        Order: as configured; every plugin is asked until one refuses.
        An answer: return None. Anything else is a mistake (False does not refuse), and a 503.
        Raising: one of this module's errors refuses with it; `RateLimitExceeded(..., retry_after=seconds)` is a 429. Any other
        exception, or no answer within five seconds, is a 503: admission fails closed.
        Guaranteed: `finished` is called for the same context afterwards, however the request ends.
        """

    @hookspec
    async def answer(self, context: Context, call: NativeCall, forward: Forward) -> Answer | None:
        """Answer in Ollama's place, or take over the asking.

        When: once per native call, after `admit`.
        Order: as configured; the first answer that is not None decides, later plugins are not asked.
        An answer: the records. Those that are known already as a list, up to the one with `done: true`; others as an asynchronous iterable of
        batches, such as what `forward()` gives, seen or shared on its way. None means "nothing known".
        Raising: one of this module's errors ends the request with it. Any other exception, an answer that is not records, or none within
        five seconds counts as "nothing known" and is logged: a broken cache costs time, not answers. Where there is waiting to do, it is done by
        the iteration, which may take as long as it must. An iteration that breaks is taken over by Ollama, unless the caller has a part already.
        Guaranteed: when the caller leaves, the iteration is closed at once (`aclose`), and with it what `forward()` opened. A plugin that wants
        the generation to go on calls `forward()` in a task of its own.
        """

    @hookspec
    async def dispatch(self, context: Context, call: NativeCall) -> Release | None:
        """Wait for a place on Ollama.

        When: once per native call that really goes to Ollama, so not for an answer that is known or shared.
        Order: as configured; every plugin is asked. May wait, for minutes if it must: meanwhile a streaming caller gets
        heartbeats, and one who leaves cancels the wait (`asyncio.CancelledError`).
        An answer: a plain function that gives the place back. None means "go ahead".
        Raising: one of this module's errors refuses with it; places already given by other plugins are given back. Any other exception is a 503, and so is an
        answer that cannot be called. A function that raises, or would have to be awaited, is logged.
        Guaranteed: the function is called exactly once, in the opposite order, when the call has ended in whatever way.
        """

    @hookspec
    async def transform(self, context: Context, call: NativeCall) -> Transform | None:
        """Change the text on its way.

        When: once per native call, before its first record; also for an answer that `answer` knew.
        Order: as configured; each function is fed what the one before it gave.
        An answer: a plain function that is called with each record, in order, and gives the record to send in its place. None means
        "nothing to change"; then a record costs nothing.
        Raising: in the hook or in the function, one of this module's errors ends the request with it, as a stream error when the stream has begun.
        Any other exception, or an answer that is not a record, is logged, and the record goes on as it was: a redactor that must
        not fail open catches its own failures and raises.
        Guaranteed: the function is called from the event loop, never at the same time as itself, and not after the answer has ended.
        """

    @hookspec
    async def answered(self, context: Context, call: NativeCall, answer: Record) -> None:
        """See the whole answer.

        When: once per native call that Ollama answered to its end with `done: true`; never for a failed, cut or partial answer, nor for one
        that `answer` knew. Before the caller has the last byte.
        Order: opposite to the configured one.
        `answer` is the whole answer as one record: texts joined, calls collected, counts as Ollama gave them. Answers over 8 MB do not come here.
        Raising: is logged and changes nothing for the caller.
        Guaranteed: `answer` is what came from Ollama, before any plugin changed text on its way, and nobody else's copy.
        """

    @hookspec
    async def finished(self, context: Context, outcome: Outcome) -> None:
        """Know how the request ended.

        When: exactly once for every request that reached the application, whatever happened: refused, failed, cut, complete.
        Order: opposite to the configured one. Each plugin is called, whatever the others did.
        Raising: is logged, and changes nothing.
        Guaranteed: nothing comes after it for this context, but where a plugin runs `forward()` in a task of its own, which goes on without
        the caller, for others or for a cache: then `dispatch` and `answered` may, for that call. A call that takes longer than five seconds is cancelled.
        """
