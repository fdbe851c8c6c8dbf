"""What is known about one request: who asks, for what, and how it ended.

Values only. They are frozen: plugins read them, the core alone learns more (`learn`). What a plugin wants to keep
between two of its hooks, it keeps in `Context.state`, under itself.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from tornado_gateway.headers import check_header

Ended = Literal["complete", "client_left", "upstream_failed", "refused", "shutdown", "failed"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: the answer of `authenticate`. There is no empty or default one.

    `name` is the tenant: limits, the cache and the log are kept by it. `models` are patterns with `*`; None means all.
    The limits are this caller's own and beat the settings of the plugin that enforces them; None means no own limit.
    Raises ValueError for an empty name, and for a limit that is no whole number from 0.
    """

    name: str
    models: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent: int | None = None
    log_content: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a principal needs a name")
        for limit in (self.requests_per_minute, self.tokens_per_minute, self.max_concurrent):
            # Exactly `int`: 60.0 and True would equal 60 and 1 until something else than Python counts with them.
            if limit is not None and (type(limit) is not int or limit < 0):
                raise ValueError("a principal's limits must be whole numbers from 0")

    def may_use(self, *names: str) -> bool:
        """Whether one of `names` (see `Context.model_names`) matches one of this caller's patterns, whatever their case."""
        if self.models is None:
            return True
        return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in self.models for name in names)


class Usage(msgspec.Struct, frozen=True):
    """What Ollama counted, summed over the request's native calls. Durations in nanoseconds."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    load_duration: int = 0
    total_duration: int = 0


class Outcome(msgspec.Struct, frozen=True):
    """How a request ended: what `finished` is told. Milliseconds since the request's arrival, None where it never came."""

    ended: Ended
    status: int
    """The HTTP status that was sent, or would have been; 499 when the client left before a status was sent."""
    error: str | None = None
    """The code of the error, None when all went well."""
    duration_ms: float = 0.0
    queue_ms: float | None = None
    """Time spent in `dispatch`, waiting for a place."""
    first_byte_ms: float | None = None
    """From arrival to Ollama's first byte."""
    usage: Usage | None = None
    """None when Ollama gave no counts, so also for an answer from the cache."""
    dispatched: int = 0
    """How many native calls were sent to Ollama for this request."""
    records: int = 0
    """How many records Ollama sent for it: in a stream about one for each token, also where the end with its counts never came."""
    bytes_out: int = 0
    answer: str | None = None
    """The text of the answer; only when a plugin asked for content."""


class Context(msgspec.Struct, frozen=True, eq=False):
    """One request, as far as it is known. Grows while the request walks through the hooks, then stays."""

    id: str
    """`X-Request-Id`: 1 to 64 of `A-Z a-z 0-9 . _ -`."""
    arrived: float
    """Seconds since the epoch."""
    clock: float
    """The monotonic clock at arrival, in seconds."""
    client: str
    """The peer's address, without its port; never what a header says."""
    method: str
    path: str
    headers: Mapping[str, str] = MappingProxyType({})
    """The request's headers, names in lower case. They hold the key: never log them."""
    principal: Principal | None = None
    model: str | None = None
    """The model as the client spelled it."""
    resolved_model: str | None = None
    """The model that answers, as Ollama spells it."""
    model_names: tuple[str, ...] = ()
    """What to compare patterns of models with, in lower case, with and without `:latest`: the name of the model that answers and,
    where another led to it, the alias. Never `model`: callers may spell one model in many ways."""
    stream: bool = False
    prompt_tokens_estimate: int = 0
    """A rough count of the prompt's tokens over all native calls, made from its length."""
    max_tokens: int | None = None
    """The most tokens that the whole answer may have, where a bound was set."""
    user: str | None = None
    """`user` or `safety_identifier` of the request: whom the caller acts for."""
    upstream: str | None = None
    """The Ollama that answers, by its configured name."""
    ignored: tuple[str, ...] = ()
    """Fields of the request that have no effect."""
    cache: str | None = None
    """`hit`, `miss`, `joined` or `bypass`; None when no cache is on."""
    state: MutableMapping[Any, Any] = {}
    """For plugins: use yourself as the key."""
    response_headers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Context {self.id} {self.method} {self.path}>"  # neither headers nor what plugins keep: there are keys in both

    def add_header(self, name: str, value: str) -> None:
        """Send a header with the answer, error answers included. Has no effect once the answer's head is out.

        Raises ValueError when the name or the value cannot stand in a header.
        """
        check_header(name, value)
        self.response_headers[name] = value

    def note_cache(self, state: Literal["hit", "miss", "joined", "bypass"]) -> None:
        """Say what a cache did with this request: for the log. Called by cache plugins."""
        msgspec.structs.force_setattr(self, "cache", state)


def learn(context: Context, **facts: Any) -> None:
    """Add facts to a context. For the core: a plugin that calls it breaks the other plugins' trust."""
    for name, value in facts.items():
        msgspec.structs.force_setattr(context, name, value)
