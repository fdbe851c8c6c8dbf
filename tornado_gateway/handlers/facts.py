"""What is known about a request, read off it, and what its end is called. Functions of values."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from tornado.httputil import HTTPServerRequest

from tornado_gateway.context import Context, Ended, Outcome
from tornado_gateway.errors import GatewayError, NotCached, ShuttingDown
from tornado_gateway.exchange import Tally
from tornado_gateway.handlers.request import fields_of

UPSTREAM_FAILURES = frozenset(
    {"upstream_error", "upstream_closed", "upstream_invalid_response", "upstream_unavailable", "overloaded", "upstream_timeout"}
)
"""Codes that say that Ollama failed."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.]")
_MAX_IGNORED = 20
_LEFT_BEFORE_A_STATUS = 499
_EXPOSED = (
    "X-Request-Id, X-Cache, Age, X-Ignored-Params, X-Should-Retry, Retry-After, retry-after-ms, Server-Timing, "
    "X-RateLimit-Limit-Requests, X-RateLimit-Remaining-Requests, X-RateLimit-Reset-Requests, "
    "X-RateLimit-Limit-Tokens, X-RateLimit-Remaining-Tokens, X-RateLimit-Reset-Tokens"
)


def new_context(request: HTTPServerRequest, new_id: Callable[[], str]) -> Context:
    """The context of a request whose head has just arrived: clock and ids are asked here, nowhere below."""
    headers = fields_of(request)
    asked_id = headers.get("x-request-id", "")
    return Context(
        id=asked_id if asked_id and _REQUEST_ID.fullmatch(asked_id) else new_id(),
        arrived=time.time(),
        clock=time.monotonic(),
        client=request.remote_ip or "",
        method=request.method or "",
        path=request.path,
        headers=MappingProxyType(headers),
    )


def outcome(context: Context, tally: Tally, ended: Ended, status: int | None, code: str | None, bytes_out: int) -> Outcome:
    """How a request ended, at this moment."""
    began = context.clock
    return Outcome(
        ended=ended,
        status=status or (_LEFT_BEFORE_A_STATUS if ended == "client_left" else 500),
        error=code,
        duration_ms=(time.monotonic() - began) * 1000,
        queue_ms=None if tally.queue_seconds is None else tally.queue_seconds * 1000,
        first_byte_ms=None if tally.first_byte is None else (tally.first_byte - began) * 1000,
        usage=tally.usage,
        dispatched=tally.dispatched,
        records=tally.records,
        bytes_out=bytes_out,
    )


def ended_by(error: GatewayError) -> Ended:
    """What the log calls the end that an error brings."""
    if error.code in UPSTREAM_FAILURES:
        return "upstream_failed"
    if isinstance(error, ShuttingDown):
        return "shutdown"
    return "refused" if error.status < 500 or isinstance(error, NotCached) else "failed"


def ignored_names(names: Sequence[str]) -> str:
    """The value of `X-Ignored-Params`: names that came from a client, made fit for a header."""
    return ",".join(_NOT_IN_NAMES.sub("_", name)[:64] for name in names[:_MAX_IGNORED])


def server_timing(context: Context, tally: Tally) -> str:
    """Milliseconds in line, at Ollama's, in all, so far."""
    now = time.monotonic()
    queue = (tally.queue_seconds or 0.0) * 1000
    upstream = 0.0 if tally.upstream_began is None else (now - tally.upstream_began) * 1000
    return f"queue;dur={queue:.1f}, upstream;dur={upstream:.1f}, total;dur={(now - context.clock) * 1000:.1f}"


def cors_headers(origin: str) -> dict[str, str]:
    """For a web page that the operator named."""
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin", "Access-Control-Expose-Headers": _EXPOSED}


def is_preflight(headers: Mapping[str, str]) -> bool:
    """Whether an `OPTIONS` is the question that browsers ask before they send what a page wants."""
    return "origin" in headers and "access-control-request-method" in headers


def preflight_headers(methods: Iterable[str]) -> dict[str, str]:
    """For the question that browsers ask before they send."""
    return {
        "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Cache-Control, X-Request-Id, api-key, x-api-key, *",
        "Access-Control-Max-Age": "600",
    }
