"""Whole answers kept and given again, never across tenants; identical calls at work at once run once.

The plugin only decides: what is kept is in `tornado_gateway_cache_entries`, what runs together in
`tornado_gateway_cache_flights`, what outlives a restart in `tornado_gateway_cache_file`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from tornado_gateway.hookspecs import Answer, Context, Forward, NativeCall, NotCached, Outcome, Record, ServerFacts, hookimpl
from tornado_gateway_cache_control import Wishes, read_wishes
from tornado_gateway_cache_entries import Bounds, Entries, Entry, key_of
from tornado_gateway_cache_file import File
from tornado_gateway_cache_flights import Flights, Reader

State = Literal["hit", "joined", "bypass", "miss"]

_WORTH = ("hit", "joined", "bypass", "miss")
"""A request with several calls is as good as the worst of them."""

_NOT_ANSWERS = frozenset({"load", "unload"})
"""Ollama's `done_reason` when it only loaded or unloaded a model: true now, not an hour later."""


class _Visit(msgspec.Struct):
    """What one request has met so far."""

    state: State = "hit"
    age: float = 0.0
    bodies: dict[bytes, int] = {}
    asks: dict[int, _Ask] = {}


class _Ask(msgspec.Struct):
    """One native call: its key, whether its answer is to be kept, and the generation that it reads."""

    key: bytes
    keep: bool
    reader: Reader | None = None


class Cache:
    class Settings(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

        ttl_seconds: PositiveFloat = Field(default=3600, description="How long an answer is given again.")
        max_bytes: PositiveInt = Field(
            default=64 * 1024 * 1024, description="Memory for all answers together; the least recently used go first."
        )
        max_entries: PositiveInt = Field(default=10_000, description="How many answers are kept.")
        max_entry_bytes: PositiveInt = Field(default=1024 * 1024, description="A larger answer is not kept.")
        apply_to: Literal["non_streamed", "deterministic", "all"] = Field(
            default="non_streamed", description="Whose answers are kept. What is kept answers streamed and other calls alike."
        )
        coalesce: bool = Field(
            default=True, description="Whether identical calls of one tenant that are at work at once run once."
        )
        coalesce_bytes: PositiveInt = Field(
            default=1024 * 1024, description="How far the slowest reader of a shared generation may be behind."
        )
        file: Path | None = Field(
            default=None, strict=False, description="An SQLite file that keeps the answers over a restart."
        )

        def bounds(self) -> Bounds:
            return Bounds(self.ttl_seconds, self.max_bytes, self.max_entries, self.max_entry_bytes)

    def __init__(
        self, settings: Settings, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.hits = self.misses = self.joined = self.bypassed = self.stored = 0
        self._settings = settings
        self._clock = clock
        self._file = File(settings.file, settings.bounds(), wall) if settings.file else None
        self._entries = Entries(settings.bounds(), clock, self._file.delete if self._file else lambda keys: None)
        self._flights = Flights(settings.coalesce_bytes)

    @property
    def evicted(self) -> int:
        return self._entries.evicted

    @property
    def bytes(self) -> int:
        return self._entries.size

    @hookimpl
    async def startup(self, server: ServerFacts) -> None:
        if server.workers > 1:
            server.announce(
                f"cache: each of the {server.workers} workers keeps its own; an answer may be asked for once in each"
            )
        if self._file is not None:
            now = self._clock()
            for key, age, data in await self._file.open():
                self._entries.put(key, Entry(data, now - age))

    @hookimpl
    async def reconfigure(self, settings: Settings) -> None:
        """New bounds and rules; entries that fit stay. The file stays the one of the start."""
        self._settings = settings
        self._entries.resize(settings.bounds())
        if self._file is not None:
            await self._file.resize(settings.bounds())
        self._flights.max_bytes = settings.coalesce_bytes

    @hookimpl
    async def shutdown(self) -> None:
        await self._flights.stop()
        if self._file is not None:
            await self._file.close()

    @hookimpl
    async def answer(self, context: Context, call: NativeCall, forward: Forward) -> Answer | None:
        visit: _Visit = context.state.get(self) or context.state.setdefault(self, _Visit())
        wishes = read_wishes(context.headers.get("cache-control"))
        if wishes.no_store and not wishes.only_if_cached:
            self._pass(context, visit, "bypass")
            return None
        ask = visit.asks[call.index] = self._ask(context, visit, call)
        if (known := self._look_up(context, visit, ask, wishes)) is not None:
            return known
        if wishes.only_if_cached:
            self._pass(context, visit, "miss")
            raise NotCached("The answer is not in the cache, and the request asked for nothing else (only-if-cached).")
        if self._settings.coalesce and (ask.keep or _is_deterministic(call)):
            return self._share(context, visit, ask, forward, fresh=wishes.no_cache)
        self._pass(context, visit, "miss" if ask.keep else "bypass")
        return None

    @hookimpl
    async def answered(self, context: Context, call: NativeCall, answer: Record) -> None:
        visit: _Visit | None = context.state.get(self)
        ask = visit.asks.get(call.index) if visit is not None else None
        if ask is None or answer.error or answer.done_reason in _NOT_ANSWERS:
            return
        if not (ask.keep or (ask.reader is not None and ask.reader.keep)):
            return  # none of those who asked wants it kept
        entry = self._entries.encode(answer)
        if entry is not None and self._entries.put(ask.key, entry):
            self.stored += 1
            if self._file is not None:
                self._file.save(ask.key, entry.data)

    @hookimpl
    async def finished(self, context: Context, outcome: Outcome) -> None:
        visit: _Visit | None = context.state.get(self)
        for ask in visit.asks.values() if visit is not None else ():
            if ask.reader is not None:
                await ask.reader.aclose()

    def _ask(self, context: Context, visit: _Visit, call: NativeCall) -> _Ask:
        tenant = context.principal.name if context.principal else "anonymous"
        twin = visit.bodies.get(call.body, 0)
        visit.bodies[call.body] = twin + 1
        return _Ask(key_of(tenant, call, twin), self._keeps(call))

    def _keeps(self, call: NativeCall) -> bool:
        match self._settings.apply_to:
            case "all":
                return True
            case "deterministic":
                return _is_deterministic(call)
            case "non_streamed":
                return not call.stream

    def _look_up(self, context: Context, visit: _Visit, ask: _Ask, wishes: Wishes) -> Answer | None:
        found = None if wishes.no_cache or wishes.no_store else self._entries.get(ask.key)
        if found is None:
            return None
        entry, age = found
        if wishes.max_age is not None and age > wishes.max_age:
            return None
        records = entry.answer()
        self.hits += 1
        visit.age = max(visit.age, age)
        _note(context, visit, "hit")
        return records

    def _share(self, context: Context, visit: _Visit, ask: _Ask, forward: Forward, *, fresh: bool) -> Answer:
        reader = None if fresh else self._flights.join(ask.key, keep=ask.keep)
        if reader is not None:
            self.joined += 1
            _note(context, visit, "joined")
        else:
            self._pass(context, visit, "miss")
            reader = self._flights.begin(ask.key, forward, keep=ask.keep)
        ask.reader = reader
        return reader

    def _pass(self, context: Context, visit: _Visit, state: Literal["miss", "bypass"]) -> None:
        if state == "miss":
            self.misses += 1
        else:
            self.bypassed += 1
        _note(context, visit, state)


def _is_deterministic(call: NativeCall) -> bool:
    return call.deterministic or call.endpoint == "/api/embed"


def _note(context: Context, visit: _Visit, state: State) -> None:
    visit.state = state if visit.state == "hit" else max(visit.state, state, key=_WORTH.index)
    context.note_cache(visit.state)
    # One that shares a generation was not in the cache: RFC 9211 calls it a miss that was collapsed.
    context.add_header("X-Cache", "miss" if visit.state == "joined" else visit.state)
    if visit.state == "hit":
        context.add_header("Age", str(int(visit.age)))
    else:
        context.response_headers.pop("Age", None)
