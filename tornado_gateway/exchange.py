"""One request from first hook to last: the straight line.

An exchange works with any sink; a client's socket is one of them. Whoever runs it cancels its coroutine when the client has left:
everything that it holds (a place, the connection to Ollama) is given back on the way out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from tornado_gateway.context import Context, Usage, learn
from tornado_gateway.errors import GatewayError, UpstreamClosed
from tornado_gateway.fanout import Source, merged
from tornado_gateway.hooks import Hooks
from tornado_gateway.hookspecs import Release
from tornado_gateway.models import Catalog
from tornado_gateway.names import normal
from tornado_gateway.transforms import transformed
from tornado_gateway.upstream import Model, Ollama
from tornado_gateway.wire.dialect import Call, Dialect, Encoder, Limits, ModelFacts, Plan, Policy, Stamp
from tornado_gateway.wire.fold import Folder
from tornado_gateway.wire.ollama import NativeCall, Record
from tornado_gateway.wire.sse import HEARTBEAT

DECODE_OFF_LOOP_BYTES = 256 * 1024
"""Bodies over this are read, and their calls made, in a thread: the others must not wait for it."""


class Sink(Protocol):
    """Where an answer goes."""

    started: bool

    @property
    def congested(self) -> bool:
        """Whether the reader is behind."""
        ...

    def start(self, content_type: str, fail: Callable[[GatewayError], bytes]) -> None:
        """Send the head of a streamed answer; `fail` gives the words with which it would break off."""
        ...

    def write(self, data: bytes) -> None:
        """Send a part of a streamed answer; never waits."""
        ...

    async def drain(self) -> None:
        """Wait until the reader has caught up. Raises when it takes nothing for too long."""
        ...

    def end(self, data: bytes) -> None:
        """Send the last part of a streamed answer, and its regular end."""
        ...

    def whole(self, content_type: str, body: bytes) -> None:
        """Send an answer that is not streamed."""
        ...


@dataclass(slots=True)
class Tally:
    """What one request cost so far. Written by the exchange, read when the request ends."""

    queue_seconds: float | None = None
    first_byte: float | None = None
    """The monotonic clock at Ollama's first byte."""
    upstream_began: float | None = None
    usage: Usage | None = None
    dispatched: int = 0
    records: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about exchanges: replaced as a whole on a reload."""

    limits: Limits
    policies: dict[str, Policy]
    """By the name of the model, normalised."""
    headers_after_seconds: float
    heartbeat_seconds: float
    parallel_calls: int = 4


class Exchange:
    """The road that all requests of one gateway take."""

    def __init__(self, hooks: Hooks, catalog: Catalog, ollama: Ollama, rules: Rules, new_id: Callable[[], str]) -> None:
        self._hooks = hooks
        self._catalog = catalog
        self._ollama = ollama
        self._new_id = new_id
        self.rules = rules

    async def serve(self, context: Context, dialect: Dialect, body: bytes, sink: Sink, tally: Tally) -> None:
        """Answer one request of a known principal. Raises `GatewayError`; cancelling it ends what it began."""
        rules = self.rules
        small = len(body) <= DECODE_OFF_LOOP_BYTES
        call = dialect.parse(body, rules.limits) if small else await asyncio.to_thread(dialect.parse, body, rules.limits)
        plan = await self._plan(context, call, rules, small=small)
        await self._hooks.admit(context)
        encoder = plan.encoder(Stamp(self._new_id(), int(context.arrived)))
        sources = [self._answer(context, index, native, tally) for index, native in enumerate(plan.calls)]
        source = merged(sources, rules.parallel_calls)
        if call.stream:
            await self._stream(context, source, encoder, sink, rules)
        else:
            await self._whole(source, encoder, sink)

    async def _plan(self, context: Context, call: Call, rules: Rules, *, small: bool) -> Plan:
        learn(context, model=call.model, stream=call.stream, user=call.user)
        principal = context.principal
        if principal is None:
            raise RuntimeError("an exchange needs a principal")
        model = await self._catalog.resolve(call.model, principal)
        facts = await self._facts(model, needed=call.needs_facts)
        policy = rules.policies.get(normal(model.name), _NO_POLICY)
        plan = call.plan(facts, policy) if small else await asyncio.to_thread(call.plan, facts, policy)
        bounds = [native.max_tokens for native in plan.calls]
        learn(
            context,
            resolved_model=model.name,
            upstream=self._ollama.name,
            ignored=plan.ignored,
            prompt_tokens_estimate=sum(native.prompt_tokens_estimate for native in plan.calls),
            max_tokens=sum(bound or 0 for bound in bounds) if all(bounds) else None,
        )
        return plan

    async def _facts(self, model: Model, *, needed: bool) -> ModelFacts:
        if needed:
            return await self._catalog.facts(model)
        return ModelFacts(name=model.name, digest=model.digest)

    async def _stream(self, context: Context, source: Source, encoder: Encoder, sink: Sink, rules: Rules) -> None:
        with _Heartbeat(sink, encoder, context.clock + rules.headers_after_seconds, rules.heartbeat_seconds) as heartbeat:
            async with aclosing(source) as batches:
                async for index, batch in batches:
                    data = encoder.feed(index, batch)
                    if not sink.started:
                        sink.start(encoder.content_type, encoder.fail)
                    if data:
                        heartbeat.beat()
                        sink.write(data)
                        if sink.congested:
                            await sink.drain()
            sink.end(encoder.finish())

    async def _whole(self, source: Source, encoder: Encoder, sink: Sink) -> None:
        async with aclosing(source) as batches:
            async for index, batch in batches:
                encoder.feed(index, batch)
        sink.whole(encoder.content_type, encoder.finish())

    async def _answer(self, context: Context, index: int, call: NativeCall, tally: Tally) -> Source:
        """The records of the request's native call number `index`, from whoever has them; ends well only behind a whole answer."""
        answer = await self._hooks.answer(context, call, _Forward(self, context, call, tally))
        changes = await self._hooks.transforms(context, call)
        whole = False
        iterator = aiter(answer)
        try:
            async for batch in iterator:
                if batch:
                    whole = batch[-1].done or batch[-1].embeddings is not None
                    yield index, [transformed(record, changes) for record in batch] if changes else batch
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()
        if not whole:
            raise UpstreamClosed("The answer ended before it was whole.")

    async def forward(self, context: Context, call: NativeCall, tally: Tally) -> AsyncGenerator[Sequence[Record], None]:
        """The rest of the road: wait for a place, ask Ollama, show the whole answer to the plugins."""
        places: list[Release] = []
        try:
            began = time.monotonic()
            await self._hooks.dispatch(context, call, places)
            tally.queue_seconds = (tally.queue_seconds or 0.0) + time.monotonic() - began
            tally.dispatched += 1
            tally.upstream_began = tally.upstream_began or time.monotonic()
            folder = Folder() if self._hooks.wants_answers else None
            async with aclosing(self._ollama.answer(call, on_first_byte=lambda: _first_byte(tally))) as batches:
                async for batch in batches:
                    tally.records += len(batch)
                    if batch[-1].done or batch[-1].embeddings is not None:
                        _count(tally, batch[-1])
                        if folder is not None:
                            folder.add(batch)
                            # Told before the last records go on: who has the whole answer may ask for it again at once.
                            await self._tell(context, call, folder)
                    elif folder is not None:
                        folder.add(batch)
                    yield batch
        finally:
            self._hooks.release(places)

    async def _tell(self, context: Context, call: NativeCall, folder: Folder) -> None:
        answer = folder.whole()
        if answer is not None:
            await self._hooks.answered(context, call, answer)


class _Forward:
    """`forward()` as a plugin is handed it: the road can be taken once."""

    def __init__(self, exchange: Exchange, context: Context, call: NativeCall, tally: Tally) -> None:
        self._exchange = exchange
        self._arguments = (context, call, tally)
        self._taken = False

    def __call__(self) -> AsyncGenerator[Sequence[Record], None]:
        if self._taken:
            raise RuntimeError("forward() may be called once: a call is sent to Ollama once and never again")
        self._taken = True
        return self._exchange.forward(*self._arguments)


class _Heartbeat:
    """Bytes for a streaming client while nothing else comes: the head first, then comments.

    One timer for a stream, not one for a token: it looks when bytes went out last and sleeps for the rest.
    """

    def __init__(self, sink: Sink, encoder: Encoder, first: float, every: float) -> None:
        self._sink = sink
        self._encoder = encoder
        self._every = every
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer = self._loop.call_later(max(0.0, first - time.monotonic()), self._due)

    def __enter__(self) -> _Heartbeat:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def beat(self) -> None:
        """Bytes go out."""
        self._last = self._loop.time()

    def _due(self) -> None:
        if not self._sink.started:
            self._sink.start(self._encoder.content_type, self._encoder.fail)
        silent = self._loop.time() - self._last
        if silent >= self._every and not self._sink.congested:
            self._sink.write(HEARTBEAT)
            self.beat()
            silent = 0.0
        self._timer = self._loop.call_later(max(0.001, self._every - silent), self._due)


def _first_byte(tally: Tally) -> None:
    if tally.first_byte is None:
        tally.first_byte = time.monotonic()


def _count(tally: Tally, last: Record) -> None:
    before = tally.usage or Usage()
    tally.usage = Usage(
        prompt_tokens=before.prompt_tokens + last.prompt_eval_count,
        completion_tokens=before.completion_tokens + last.eval_count,
        load_duration=before.load_duration + last.load_duration,
        total_duration=before.total_duration + last.total_duration,
    )


_NO_POLICY = Policy()
