"""Limits per tenant, and per tenant and model: requests a minute, tokens a minute, calls at once.

Requests and tokens are counted in `admit`, so after the caller is known and before anything is looked up; places are given
in `dispatch`, so that an answer from the cache takes none. The counting itself is in `tornado_gateway_rate_limit_meters`,
the line in `tornado_gateway_rate_limit_line`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from tornado_gateway.hookspecs import (
    ConcurrencyLimit,
    Context,
    NativeCall,
    Outcome,
    Principal,
    RateLimitExceeded,
    Release,
    ServerFacts,
    hookimpl,
)
from tornado_gateway_rate_limit_keeper import LimitKeeper, SharedLine, SharedMeters
from tornado_gateway_rate_limit_line import Gate, Line, Party, Patience, Refused
from tornado_gateway_rate_limit_meters import Hold, MemoryMeters, Meters, OwnMeters, Rate, Reading, Taken, Want

_NOBODY = Principal("anonymous")
_REQUESTS = ("X-RateLimit-Limit-Requests", "X-RateLimit-Remaining-Requests", "X-RateLimit-Reset-Requests")
_TOKENS = ("X-RateLimit-Limit-Tokens", "X-RateLimit-Remaining-Tokens", "X-RateLimit-Reset-Tokens")


class Limits(BaseModel):
    """What one tenant may do; None is no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    requests_per_minute: PositiveInt | None = Field(default=None, description="Requests a minute of one tenant.")
    burst: PositiveInt | None = Field(default=None, description="Requests at once; None: as many as a minute allows.")
    tokens_per_minute: PositiveInt | None = Field(default=None, description="Tokens of prompts and answers together.")
    token_burst: PositiveInt | None = Field(default=None, description="Tokens at once; None: as many as a minute allows.")
    max_concurrent: PositiveInt | None = Field(default=None, description="Calls of one tenant that run at once.")
    max_concurrent_total: PositiveInt | None = Field(default=None, description="Calls of all tenants that run at once.")


class _Visit(msgspec.Struct):
    """What one request has been given so far."""

    party: Party | None = None
    requests: Sequence[Want] = ()
    holds: Sequence[Hold] = ()
    estimate: int = 0


class RateLimit:
    class Settings(Limits):
        requests_per_minute: PositiveInt | None = Field(default=60, description="Requests a minute of one tenant.")
        models: dict[str, Limits] = Field(
            default={},
            description="Limits that count for one model besides those above, by its name or a pattern; the first that matches is taken.",
        )
        max_waiting: NonNegativeInt = Field(default=16, description="Requests of one tenant that may wait for a place.")
        max_waiting_total: NonNegativeInt = Field(default=256, description="Calls of all tenants that may wait for a place.")
        max_wait_seconds: NonNegativeFloat = Field(
            default=1.0,
            description="How long a request may wait for a place. Above `headers_after_seconds` the refusal of a stream is a stream error.",
        )
        max_tenants: PositiveInt = Field(default=65_536, description="How many counters are kept in memory.")

    def __init__(
        self, settings: Settings, *, meters: Meters | None = None, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._settings = settings
        self._memory = MemoryMeters(settings.max_tenants, clock)
        self._meters = meters or OwnMeters(self._memory)
        self._line: Line | SharedLine = Line()

    @hookimpl
    def keeper(self) -> LimitKeeper:
        return LimitKeeper(self._settings.max_tenants)

    @hookimpl
    async def startup(self, server: ServerFacts) -> None:
        """With several workers the counting is done in their parent: what one may do, all may do together."""
        if server.shared is not None:
            self._line = SharedLine(server.shared)
            if isinstance(self._meters, OwnMeters):
                self._meters = SharedMeters(server.shared)

    @hookimpl
    async def reconfigure(self, settings: Settings) -> None:
        self._settings = settings
        self._memory.resize(settings.max_tenants)

    @hookimpl
    async def admit(self, context: Context) -> None:
        tenant = context.principal or _NOBODY
        model = context.resolved_model or context.model or ""
        limits = self._find(context.model_names)
        estimate = max(1, context.prompt_tokens_estimate)
        requests = self._request_wants(tenant, model, limits)
        tokens = self._token_wants(tenant, model, limits, estimate)
        wants = requests + tokens
        if not wants:
            return
        taken = await self._meters.take(wants)
        refused = taken.refused
        if refused is None:
            visit = self._visit(context)
            visit.requests, visit.holds, visit.estimate = requests, taken.holds, estimate
        if requests:
            _write_headers(context, _REQUESTS, taken.readings[: len(requests)])
        if tokens:
            _write_headers(context, _TOKENS, taken.readings[len(requests) :])
        if refused is not None:
            # What no wait can help is told before what takes longest.
            never = (index for index, want in enumerate(wants) if want.amount > want.rate.burst)
            index = next(never, refused)
            raise _refusal(context, wants[index], taken, taken.readings[index])

    @hookimpl
    async def dispatch(self, context: Context, call: NativeCall) -> Release | None:
        tenant = context.principal or _NOBODY
        gates = self._gates(tenant, call.model, context)
        if not gates:
            return None
        visit = self._visit(context)
        visit.party = party = visit.party or Party(tenant.name)
        settings = self._settings
        patience = Patience(settings.max_waiting, settings.max_waiting_total, settings.max_wait_seconds)
        try:
            return await self._line.enter(party, gates, patience)
        except Refused as error:
            raise ConcurrencyLimit(
                f"{error.gate.words}; {'no place came free in time' if error.waited else 'the line is full'}. "
                f"Please try again in {go_duration(math.ceil(error.retry_after))}.",
                retry_after=error.retry_after,
            ) from error

    @hookimpl
    async def finished(self, context: Context, outcome: Outcome) -> None:
        visit: _Visit | None = context.state.pop(self, None)
        if visit is None:
            return
        if visit.holds:
            await self._meters.settle(visit.holds, _used(outcome, visit.estimate))
        if visit.requests and outcome.ended == "refused" and not outcome.dispatched:
            await self._meters.give_back(visit.requests)  # by the line, say: a refusal costs nothing, whoever refuses

    def _visit(self, context: Context) -> _Visit:
        """What is kept of a request between two hooks."""
        visit: _Visit = context.state.get(self) or context.state.setdefault(self, _Visit())
        return visit

    def _request_wants(self, tenant: Principal, model: str, limits: Limits | None) -> list[Want]:
        settings = self._settings
        wants = []
        if rate := _rate(tenant.requests_per_minute, settings.requests_per_minute, settings.burst):
            wants.append(Want(("requests", tenant.name), rate))
        if limits and (rate := _rate(None, limits.requests_per_minute, limits.burst)):
            wants.append(Want(("requests", tenant.name, model), rate))
        return wants

    def _token_wants(self, tenant: Principal, model: str, limits: Limits | None, estimate: int) -> list[Want]:
        settings = self._settings
        wants = []
        if rate := _rate(tenant.tokens_per_minute, settings.tokens_per_minute, settings.token_burst):
            wants.append(Want(("tokens", tenant.name), rate, estimate, reserve=True))
        if limits and (rate := _rate(None, limits.tokens_per_minute, limits.token_burst)):
            wants.append(Want(("tokens", tenant.name, model), rate, estimate, reserve=True))
        return wants

    def _gates(self, tenant: Principal, model: str, context: Context) -> list[Gate]:
        settings = self._settings
        gates: list[Gate] = []
        own = tenant.max_concurrent if tenant.max_concurrent is not None else settings.max_concurrent
        if own is not None:
            gates.append(Gate(("tenant", tenant.name), own, f"You may have {_count(own, 'call')} at work at once"))
        limits, asked = self._find(context.model_names), context.model or model
        if limits is not None and limits.max_concurrent is not None:
            most = limits.max_concurrent
            words = f"You may have {_count(most, 'call')} to {asked} at work at once"
            gates.append(Gate(("tenant", tenant.name, model), most, words))
        if limits is not None and limits.max_concurrent_total is not None:
            most = limits.max_concurrent_total
            words = f"All callers together may have {_count(most, 'call')} to {asked} at work at once"
            gates.append(Gate(("model", model), most, words))
        if settings.max_concurrent_total is not None:
            most = settings.max_concurrent_total
            gates.append(Gate(("all",), most, f"All callers together may have {_count(most, 'call')} at work at once"))
        return gates

    def _find(self, names: Sequence[str]) -> Limits | None:
        """The limits of a model: those of the first pattern that matches one of its names, whatever the case."""
        for pattern, limits in self._settings.models.items():
            if any(fnmatchcase(name, pattern.lower()) for name in names):
                return limits
        return None


@lru_cache(maxsize=1024)
def _rate(own: int | None, per_minute: int | None, burst: int | None) -> Rate | None:
    """The caller's own number beats the setting, and brings its own burst."""
    if own is not None:
        return Rate(own, own)
    return None if per_minute is None else Rate(per_minute, burst or per_minute)


def _used(outcome: Outcome, estimate: int) -> int:
    """What a request is charged: Ollama's counts, nothing when it failed or needed no Ollama.

    Who leaves in mid-answer pays for the prompt at least: free answers to those who hang up before the last byte would be a way around the limit.
    """
    counted = outcome.usage.prompt_tokens + outcome.usage.completion_tokens if outcome.usage else None
    # Without Ollama's counts the records that came stand for the tokens: who leaves before the end has used them all the same.
    estimate += outcome.records
    if outcome.ended == "complete":
        return counted if counted is not None else estimate * bool(outcome.dispatched)
    if outcome.ended == "client_left" and outcome.dispatched:
        return max(estimate, counted or 0)
    return 0


def _write_headers(context: Context, names: Sequence[str], readings: Sequence[Reading]) -> None:
    tightest = readings[0] if len(readings) == 1 else min(readings, key=lambda reading: reading.remaining)
    limit, remaining, reset = names
    context.add_header(limit, str(tightest.limit))
    context.add_header(remaining, str(tightest.remaining))
    context.add_header(reset, go_duration(tightest.reset))


def _refusal(context: Context, want: Want, taken: Taken, reading: Reading) -> RateLimitExceeded:
    if taken.full:
        return RateLimitExceeded("Too many callers are being counted; please try again in 1s.", retry_after=1)
    unit = want.key[0]
    limit = f"{_count(want.rate.per_minute, unit.removesuffix('s'))} a minute"
    if want.rate.burst != want.rate.per_minute:
        limit += f" and {want.rate.burst} at once"
    where = f" to {context.model}" if len(want.key) > 2 else ""
    asked = f"; this one needs about {want.amount}" if unit == "tokens" else ""
    if unit == "tokens" and want.amount > want.rate.burst:
        # No wait helps: the SDKs are told not to try again by themselves.
        return RateLimitExceeded(
            f"Rate limit: {limit}{where}{asked}, which is more than is ever allowed at once. Send a shorter prompt.",
            retry_after=60,
            headers={"X-Should-Retry": "false"},
        )
    wait = go_duration(reading.wait)
    return RateLimitExceeded(
        f"Rate limit reached: {limit}{where}{asked}. Please try again in {wait}.", retry_after=reading.wait
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def go_duration(seconds: float) -> str:
    """A duration as OpenAI's headers write it: `12ms`, `1s`, `8.64s`, `6m0s`; never shorter than it is."""
    total = math.ceil(round(seconds * 1000, 6))
    if total < 60_000:
        return f"{total / 1000:g}s" if total >= 1000 or not total else f"{total}ms"
    minutes, milliseconds = divmod(total, 60_000)
    hours, minutes = divmod(minutes, 60)
    rest = f"{milliseconds / 1000:g}s"
    return f"{hours}h{minutes}m{rest}" if hours else f"{minutes}m{rest}"
