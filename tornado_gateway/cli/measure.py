"""What each hook of the plugins that are on costs: made-up requests go through the hooks, without a server, a client or an Ollama."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Sequence

from tornado_gateway.binding import Place
from tornado_gateway.config import Settings
from tornado_gateway.context import Context, Outcome, Principal, Usage, learn
from tornado_gateway.discovery import build_plugins
from tornado_gateway.errors import GatewayError
from tornado_gateway.hooks import Hooks
from tornado_gateway.hookspecs import Message, NativeCall, Record, ServerFacts
from tornado_gateway.transforms import Change, transformed

ROUNDS = 200
MODEL = "measure:latest"
_TENANT_ROUNDS = 20
"""Requests of one made-up tenant: few enough that usual limits let them pass."""


async def measured(settings: Settings) -> dict[str, dict[str, float]]:
    """As `Hooks.times`. Raises `StartupRefused`."""
    hooks = Hooks(build_plugins(settings))
    await hooks.startup(ServerFacts(settings.server.host, settings.server.port, loopback=True, announce=lambda _: None))
    try:
        for number in range(ROUNDS):
            await _request(hooks, number)
        await hooks.unready()
        return hooks.times()
    finally:
        await hooks.shutdown()


async def _request(hooks: Hooks, number: int) -> None:
    client = f"127.1.{number // 250}.{number % 250 + 1}"  # one address each: guessing keys is slowed down by address
    context = Context(f"measure-{number}", time.time(), time.monotonic(), client, "POST", "/v1/chat/completions")
    outcome = Outcome("refused", 401)
    try:
        await _authenticate(hooks, context, number)
        learn(context, model=MODEL, resolved_model=MODEL, stream=True, prompt_tokens_estimate=10)
        await hooks.admit(context)
        await _call(hooks, context, number)
        outcome = Outcome("complete", 200, usage=Usage(10, 3), dispatched=1)
    except GatewayError as error:
        outcome = Outcome("refused", error.status, error=error.code)
    finally:
        await hooks.finished(context, outcome)


async def _authenticate(hooks: Hooks, context: Context, number: int) -> None:
    principal = Principal(f"measure-{number // _TENANT_ROUNDS}")
    with contextlib.suppress(GatewayError):  # there is no key to be had here: the refusal is what is measured
        principal = await hooks.authenticate(context)
    learn(context, principal=principal)


async def _call(hooks: Hooks, context: Context, number: int) -> None:
    body = b'{"messages":[{"content":"Question %d","role":"user"}],"model":"measure:latest"}' % number
    call = NativeCall("/api/chat", MODEL, "", body, stream=False, prompt_tokens_estimate=10)
    answer = await hooks.answer(context, call, lambda: _forward(hooks, context, call))
    changes = await hooks.transforms(context, call)
    if isinstance(answer, list | tuple):
        _change(answer, changes)
        return
    async for batch in answer:
        _change(batch, changes)


def _change(batch: Sequence[Record], changes: Sequence[Change]) -> None:
    for record in batch if changes else ():
        transformed(record, changes)


async def _forward(hooks: Hooks, context: Context, call: NativeCall) -> AsyncGenerator[Sequence[Record], None]:
    places: list[Place] = []
    try:
        await hooks.dispatch(context, call, places)
        yield [Record(model=MODEL, message=Message(content="An ")), Record(model=MODEL, message=Message(content="answer"))]
        last = Record(model=MODEL, message=Message(content="An answer."), done=True, prompt_eval_count=10, eval_count=3)
        await hooks.answered(context, call, last)
        yield [Record(model=MODEL, message=Message(content="."), done=True, prompt_eval_count=10, eval_count=3)]
    finally:
        hooks.release(places)
