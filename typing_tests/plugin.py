"""A plugin that uses all of the contract, as its author's type checker sees it. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, assert_type

from pydantic import BaseModel

from tornado_gateway.hookspecs import (
    Answer,
    AuthenticationFailed,
    AuthUnavailable,
    ConcurrencyLimit,
    Context,
    Forward,
    GatewayError,
    InvalidRequest,
    Keeper,
    Message,
    ModelNotFound,
    NativeCall,
    NotCached,
    Outcome,
    Overloaded,
    PluginRequest,
    PluginResponse,
    Principal,
    RateLimitExceeded,
    Record,
    Release,
    RequestTooLarge,
    Route,
    ServerFacts,
    Shared,
    SharedUnavailable,
    StartupRefused,
    ToolCall,
    Transform,
    UnsupportedValue,
    Usage,
    decode_records,
    encode_records,
    hookimpl,
)


class Everything:
    class Settings(BaseModel):
        words: tuple[str, ...] = ()

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shared: Shared | None = None

    @hookimpl
    async def startup(self, server: ServerFacts) -> None:
        assert_type(server.host, str)
        assert_type(server.loopback, bool)
        server.announce("a line")
        self._shared = server.shared
        if not server.loopback:
            raise StartupRefused("everything: only here")

    @hookimpl
    async def reconfigure(self, settings: Settings) -> None:
        self._settings = settings

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return [Route("/words", self._words, methods=frozenset({"GET", "POST"}), authenticated=False)]

    async def _words(self, request: PluginRequest) -> PluginResponse:
        assert_type(request.body, bytes)
        assert_type(request.context, Context)
        return PluginResponse({"words": self._settings.words, "asked": request.query.get("q")}, status=200)

    @hookimpl
    def commands(self) -> Sequence[Any]:
        return []

    @hookimpl
    async def ready(self) -> str | None:
        return None

    @hookimpl
    def keeper(self) -> Keeper | None:
        return Counts()

    @hookimpl
    async def authenticate(self, context: Context) -> Principal | None:
        if "authorization" not in context.headers:
            raise AuthenticationFailed("Who are you?")
        if not self._settings.words:
            raise AuthUnavailable("Not now.", retry_after=1)
        return Principal("someone", models=("llama*",), requests_per_minute=1, log_content=False)

    @hookimpl
    async def admit(self, context: Context) -> None:
        assert_type(context.model, str | None)
        assert_type(context.principal, Principal | None)
        context.add_header("X-Words", str(len(self._settings.words)))
        context.state[self] = 1
        refusals: list[GatewayError] = [
            InvalidRequest("No.", param="model"),
            UnsupportedValue("No.", param="user"),
            ModelNotFound("No."),
            RequestTooLarge("No."),
            RateLimitExceeded("No.", retry_after=1.5, headers={"X-Should-Retry": "false"}),
            Overloaded("No."),
        ]
        if context.user:
            raise refusals[0]

    @hookimpl
    async def answer(self, context: Context, call: NativeCall, forward: Forward) -> Answer | None:
        if call.deterministic:
            context.note_cache("miss")
            return self._watched(forward)
        if context.headers.get("cache-control") == "only-if-cached":
            raise NotCached("Not here.")
        return None

    async def _watched(self, forward: Forward) -> AsyncIterator[Sequence[Record]]:
        async for batch in forward():
            assert_type(batch[-1].done, bool)
            yield decode_records(encode_records(batch))

    @hookimpl
    async def dispatch(self, call: NativeCall) -> Release | None:
        if call.max_tokens is None:
            raise ConcurrencyLimit("Too many.", retry_after=1)
        return lambda: None

    @hookimpl
    async def transform(self, context: Context, call: NativeCall) -> Transform | None:
        return shouted

    @hookimpl
    async def answered(self, answer: Record) -> None:
        calls: Sequence[ToolCall] = (answer.message.tool_calls if answer.message else None) or ()
        assert_type([call.function.name for call in calls], list[str])

    @hookimpl
    async def finished(self, context: Context, outcome: Outcome) -> None:
        usage: Usage | None = outcome.usage
        if usage is not None and outcome.ended == "complete":
            assert_type(usage.prompt_tokens + usage.completion_tokens, int)
        if self._shared is not None:
            try:
                await self._shared.call("add", 1)
            except SharedUnavailable:
                self._shared.tell("lost")

    @hookimpl
    async def shutdown(self) -> None: ...


class Counts(Keeper):
    async def gone(self, life: int) -> None: ...

    async def add(self, life: int, number: int) -> int:
        return number


def shouted(record: Record) -> Record:
    text = record.message.content if record.message else record.response
    return Record(model=record.model, message=Message(content=text.upper()), done=record.done)
