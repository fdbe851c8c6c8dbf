"""One request from first hook to last: the straight line.

An exchange works with any sink; a client's socket is one of them. Whoever runs it cancels its coroutine when the client has left:
everything that it holds (a place, the connection to Ollama) is given back on the way out.
"""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from dataclasses import dataclass

import msgspec

from tornado_gateway.binding import Place
from tornado_gateway.context import Context, Usage, learn
from tornado_gateway.delivery import Delivery, Gathering, Receiver, ShortWay, Sink, changed
from tornado_gateway.errors import InvalidRequest, UpstreamClosed
from tornado_gateway.fanout import together
from tornado_gateway.hooks import Hooks
from tornado_gateway.models import Catalog, names_of
from tornado_gateway.names import normal
from tornado_gateway.upstream import Ollama
from tornado_gateway.wire.dialect import Call, Dialect, Encoder, Limits, ModelFacts, Plan, Policy, Stamp
from tornado_gateway.wire.fold import Folder
from tornado_gateway.wire.ollama import NativeCall, Record

DECODE_OFF_LOOP_BYTES = 256 * 1024
"""Bodies over this are read, and their calls made, in a thread: the others must not wait for it."""


class Tally(msgspec.Struct):
    """What one request cost so far. Written by the exchange, read when the request ends."""

    queue_seconds: float | None = None
    first_byte: float | None = None
    """The monotonic clock at Ollama's first byte."""
    upstream_began: float | None = None
    usage: Usage | None = None
    dispatched: int = 0
    records: int = 0

    def note_first_byte(self) -> None:
        """Ollama has begun to answer."""
        if self.first_byte is None:
            self.first_byte = time.monotonic()

    def count(self, last: Record) -> None:
        """Add what the last record of an answer says of its cost."""
        before = self.usage or Usage()
        self.usage = Usage(
            prompt_tokens=before.prompt_tokens + last.prompt_eval_count,
            completion_tokens=before.completion_tokens + last.eval_count,
            load_duration=before.load_duration + last.load_duration,
            total_duration=before.total_duration + last.total_duration,
        )


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
        await _in_step()
        small = len(body) <= DECODE_OFF_LOOP_BYTES
        try:
            call = dialect.parse(body, rules.limits) if small else await asyncio.to_thread(dialect.parse, body, rules.limits)
            await _in_step()
            plan = await self._plan(context, call, rules, small=small)
        except RecursionError as error:  # msgspec can read a little deeper than some of what is done with it
            raise InvalidRequest("The request is nested too deeply.") from error
        await _in_step()
        await self._hooks.admit(context)
        await _in_step()
        encoder = plan.encoder(Stamp(self._new_id(), int(context.arrived)))
        if call.stream:
            await self._stream(context, plan, encoder, sink, tally, rules)
        else:
            await self._answers(context, plan, tally, rules, Gathering(encoder))
            await _in_step()
            sink.whole(encoder.content_type, encoder.finish())

    async def _plan(self, context: Context, call: Call, rules: Rules, *, small: bool) -> Plan:
        learn(context, model=call.model, stream=call.stream, user=call.user)
        principal = context.principal
        if principal is None:
            raise RuntimeError("an exchange needs a principal")
        model = await self._catalog.resolve(call.model, principal)
        policy = rules.policies.get(normal(model.name), _NO_POLICY)
        known = ModelFacts(name=model.name, digest=model.digest)
        facts = await self._catalog.facts(model) if call.needs_facts or policy.needs_facts else known
        plan = call.plan(facts, policy) if small else await asyncio.to_thread(call.plan, facts, policy)
        estimate, bound = _sizes(plan.calls)
        learn(
            context,
            resolved_model=model.name,
            model_names=names_of(call.model, model.name),
            upstream=self._ollama.name,
            ignored=plan.ignored,
            prompt_tokens_estimate=estimate,
            max_tokens=bound,
        )
        return plan

    async def _stream(self, context: Context, plan: Plan, encoder: Encoder, sink: Sink, tally: Tally, rules: Rules) -> None:
        head_at = context.clock + rules.headers_after_seconds
        with Delivery(sink, encoder, head_at, rules.heartbeat_seconds) as delivery:
            await self._answers(context, plan, tally, rules, delivery)
            sink.end(encoder.finish())

    async def _answers(self, context: Context, plan: Plan, tally: Tally, rules: Rules, receiver: Receiver) -> None:
        """Send the records of all native calls to `receiver`."""
        if len(plan.calls) == 1:
            await self._answer(context, 0, plan.calls[0], tally, receiver)
            return
        works = [self._answer(context, index, native, tally, receiver) for index, native in enumerate(plan.calls)]
        await together(works, rules.parallel_calls)

    async def _answer(self, context: Context, index: int, call: NativeCall, tally: Tally, receiver: Receiver) -> None:
        """Send the records of the request's native call number `index`, from whoever has them; ends well only behind a whole answer."""
        forward = _Forward(self, context, call, tally)
        answer = await self._hooks.answer(context, call, forward)
        changes = await self._hooks.transforms(context, call)
        if isinstance(answer, list | tuple):
            if not receiver.send(index, changed(answer, changes)):
                await receiver.drain()
            return
        if call.stream and answer is forward.road:  # from Ollama, and no plugin in between
            forward.outlet = ShortWay(receiver, index, changes)
        whole = False
        try:
            async for batch in answer:
                if batch:
                    whole = batch[-1].done or batch[-1].embeddings is not None
                    if not receiver.send(index, changed(batch, changes)):
                        await receiver.drain()
        finally:
            await answer.aclose()
        if not whole:
            raise UpstreamClosed("The answer ended before it was whole.")

    async def forward(self, way: _Forward, number: int) -> AsyncGenerator[Sequence[Record], None]:
        """The rest of the road: wait for a place, ask Ollama, show the whole answer to the plugins."""
        way.begin(number)
        context, call, tally = way.context, way.call, way.tally
        places: list[Place] = []
        try:
            began = time.monotonic()
            await self._hooks.dispatch(context, call, places)
            tally.queue_seconds = (tally.queue_seconds or 0.0) + time.monotonic() - began
            tally.dispatched += 1
            tally.upstream_began = tally.upstream_began or time.monotonic()
            folder = Folder() if self._hooks.wants_answers else None
            if way.outlet is not None:
                way.outlet.folder = folder
            answer = self._ollama.answer(call, on_first_byte=tally.note_first_byte, outlet=way.outlet)
            try:
                async for batch in answer:
                    tally.records += len(batch)
                    if folder is not None:
                        folder.add(batch)
                    if batch[-1].done or batch[-1].embeddings is not None:
                        tally.count(batch[-1])
                        if folder is not None:
                            # Told before the last records go on: who has the whole answer may ask for it again at once.
                            await self._tell(context, call, folder)
                    yield batch
            finally:
                if way.outlet is not None:
                    tally.records += way.outlet.taken
                await answer.aclose()
        finally:
            self._hooks.release(places)

    async def _tell(self, context: Context, call: NativeCall, folder: Folder) -> None:
        answer = folder.whole()
        if answer is not None:
            await self._hooks.answered(context, call, answer)


class _Forward:
    """`forward()` as a plugin is handed it: the road can be taken once.

    Who asked for it and never set out, a plugin that failed before, has not taken it: the next who asks gets it in his place.
    """

    __slots__ = ("_began", "_exchange", "_given", "call", "context", "outlet", "road", "tally")

    def __init__(self, exchange: Exchange, context: Context, call: NativeCall, tally: Tally) -> None:
        self._exchange = exchange
        self.context = context
        self.call = call
        self.tally = tally
        self.road: AsyncGenerator[Sequence[Record], None] | None = None
        self.outlet: ShortWay | None = None
        self._given = 0
        self._began = False

    def __call__(self) -> AsyncGenerator[Sequence[Record], None]:
        if self._began:
            raise RuntimeError("forward() may be called once: a call is sent to Ollama once and never again")
        self._given += 1
        self.road = self._exchange.forward(self, self._given)
        return self.road

    def begin(self, number: int) -> None:
        """Set out on the road that was given as number `number`."""
        if number != self._given:
            raise RuntimeError("forward() was called again, and what it gave before counts no more")
        self._began = True


_NO_POLICY = Policy()


def _sizes(calls: Sequence[NativeCall]) -> tuple[int, int | None]:
    """The tokens of all prompts, and the most that all answers may have: None when one of them has no bound."""
    estimate, most, bounded = 0, 0, True
    for call in calls:
        estimate += call.prompt_tokens_estimate
        most += call.max_tokens or 0
        bounded = bounded and bool(call.max_tokens)
    return estimate, most if bounded else None


@types.coroutine
def _in_step() -> Generator[None, None, None]:
    """Let those that came together come this far together: a turn of the loop.

    What a part of this road runs has then stayed in the processor's caches from the request before. One after the other, each from end to
    end, they find none of it there and cost a tenth more (docs/performance.md).
    """
    yield
