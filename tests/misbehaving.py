"""Plugins that break the contract on purpose, in any hook and in any of the ways that `docs/outcomes.py` names, and a witness beside them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from tornado_gateway.hookspecs import (
    Context,
    GatewayHooks,
    NativeCall,
    Outcome,
    PluginRequest,
    PluginResponse,
    Principal,
    Record,
    Route,
    hookimpl,
)

BLOCKED_SECONDS = 0.04
"""Stands for five seconds: the limits are shortened to fit."""
NONSENSE = 42


class Misbehaviour:
    """What a broken function does with its arguments, and what a sane one would give."""

    def __init__(self, kind: str, sane: Any = None) -> None:
        self.kind = kind
        self.sane = sane
        self.entered = asyncio.Event()

    def act(self, *arguments: Any) -> Any:
        """For plain functions, which cannot wait."""
        self.entered.set()
        match self.kind:
            case "raises":
                raise ZeroDivisionError("on purpose")
            case "blocks 5 s":
                time.sleep(BLOCKED_SECONDS)
            case "answers nonsense":
                return NONSENSE
            case "changes what it is given":
                vandalise(*arguments)
        return self.sane

    async def act_async(self, *arguments: Any) -> Any:
        self.entered.set()
        if self.kind == "waits for ever":
            await asyncio.Event().wait()
        return self.act(*arguments)


def broken(hook: str, misbehaviour: Misbehaviour) -> object:
    """A plugin whose hook misbehaves; its arguments are those of the specification."""
    specified = getattr(GatewayHooks, hook)
    names = ", ".join(inspect.signature(specified).parameters)
    given = names.removeprefix("self").removeprefix(", ")
    if inspect.iscoroutinefunction(specified):
        source = f"async def {hook}({names}): return await act_async({given})"
    else:
        source = f"def {hook}({names}): return act({given})"
    scope: dict[str, Any] = {"act": misbehaviour.act, "act_async": misbehaviour.act_async}
    exec(source, scope)
    return type("Broken", (), {hook: hookimpl(scope[hook])})()


def vandalise(*arguments: Any) -> None:
    """Try to change everything that a plugin is handed."""
    for argument in arguments:
        for name in ("principal", "model", "body", "status", "host", "done", "message", "error", "method"):
            with contextlib.suppress(AttributeError, TypeError):
                setattr(argument, name, "vandalised")
        if isinstance(argument, Context):
            with contextlib.suppress(TypeError):
                argument.headers["x-vandalised"] = "yes"  # type: ignore[index]  # a mapping that cannot be written
        if isinstance(argument, NativeCall):
            argument.request()["messages"][0]["content"] = "vandalised"
        if isinstance(argument, Record) and argument.message and argument.message.tool_calls:
            argument.message.tool_calls[0].function.arguments["city"] = "vandalised"


class Witness:
    """Sees what comes behind the broken plugin, and how it ended."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []
        self.answers: list[Record] = []
        self.outcomes: list[Outcome] = []
        self.released = 0

    @hookimpl
    async def admit(self, context: Context) -> None:
        self.contexts.append(context)

    @hookimpl
    async def dispatch(self, context: Context, call: NativeCall) -> Callable[[], None]:
        def release() -> None:
            self.released += 1

        return release

    @hookimpl
    async def answered(self, context: Context, call: NativeCall, answer: Record) -> None:
        self.answers.append(answer)

    @hookimpl
    async def finished(self, context: Context, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


class BrokenPart:
    """A plugin whose hooks are well, but not what they give: one of the parts that `PARTS` names."""

    def __init__(self, part: str, misbehaviour: Misbehaviour, *, after: Sequence[Record] = ()) -> None:
        self._part = part
        self._misbehaviour = misbehaviour
        self._after = after

    @hookimpl
    async def answer(self, context: Context, call: NativeCall) -> AsyncIterator[Any] | None:
        return self._records() if "answer" in self._part else None

    async def _records(self) -> AsyncIterator[Any]:
        if self._after:
            yield self._after
        given = await self._misbehaviour.act_async()
        yield [Record(model="m", response="sane", done=True)] if given is None else [given]

    @hookimpl
    async def transform(self, context: Context, call: NativeCall) -> Any:
        if "transform" not in self._part:
            return None
        return lambda record: given if (given := self._misbehaviour.act(record)) is not None else record

    @hookimpl
    async def dispatch(self, context: Context, call: NativeCall) -> Any:
        return self._misbehaviour.act if "dispatch" in self._part else None

    @hookimpl
    def routes(self) -> list[Route]:
        return [Route("/broken", self._handle)] if "route" in self._part else []

    async def _handle(self, request: PluginRequest) -> PluginResponse:
        given = await self._misbehaviour.act_async(request, request.context)
        return PluginResponse({"sane": True}) if given is None else given


def sane(hook: str) -> Any:
    """What the hook gives when it means well."""
    match hook:
        case "authenticate":
            return Principal("someone")
        case "routes" | "commands":
            return []
        case _:
            return None
