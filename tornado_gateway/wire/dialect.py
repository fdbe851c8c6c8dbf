"""What every dialect offers: a client's bytes to native calls, native records to the client's bytes.

The road of a request through a dialect: `parse` reads the body alone; `Call.plan` then meets the model's facts and the
operator's policy and gives the native calls with an encoder for their records. All of it is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from tornado_gateway.errors import GatewayError
from tornado_gateway.wire.ollama import NativeCall, Record


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one request may ask for; the settings of the same names under `limits` set them."""

    max_messages: int = 2048
    max_tools: int = 128
    max_choices: int = 8
    """`n`, `best_of` and prompts in one completion request, multiplied."""
    max_stop: int = 16
    max_inputs: int = 2048
    """Texts in one embedding request."""
    embed_part: int = 64
    """Texts in one native embedding call."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator fixed for one model (`models.defaults`).

    `options` are sent with every call and beat the caller's for load-time options. `allow` names the load-time options, and
    `keep_alive`, that callers may set all the same.
    """

    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    keep_alive: str | float | None = None
    think: bool | str | None = None
    allow: frozenset[str] = frozenset()

    @property
    def needs_facts(self) -> bool:
        """Whether it depends on the model what is sent: one that cannot think is not told to, and one's own stop texts are kept."""
        return self.think is not None or "stop" in self.options


class ModelFacts(msgspec.Struct, frozen=True):
    """What is known of the model that will answer."""

    name: str
    """As `/api/tags` spells it."""
    digest: str = ""
    capabilities: frozenset[str] | None = None
    """From `/api/show`; None when they were not asked for (`Call.needs_facts`) or Ollama could not say."""
    stop: tuple[str, ...] = ()
    """The Modelfile's stop sequences: a caller's list replaces them in Ollama, so it has to repeat them."""
    families: tuple[str, ...] = ()


class Stamp(msgspec.Struct, frozen=True):
    """What makes one answer distinct: made by the exchange, since dialects know neither clock nor chance."""

    id: str
    """At least 24 characters of `A-Za-z0-9`, unique."""
    created: int
    """Unix time in seconds."""


class Encoder(Protocol):
    """Native records to the client's bytes, for one request."""

    content_type: str

    def feed(self, index: int, records: Sequence[Record]) -> bytes:
        """Bytes to send for records of native call `index`. For a whole answer always b"": it keeps what it needs."""
        ...

    def finish(self) -> bytes:
        """The bytes that end the answer, once every native call has given its `done: true`."""
        ...

    def fail(self, error: GatewayError) -> bytes:
        """What a stream that has begun says instead of its end. Never sent for a whole answer."""
        ...


class Plan(msgspec.Struct, frozen=True):
    """A call made ready: what is sent, what has no effect, how the answer is written."""

    calls: tuple[NativeCall, ...]
    encoder: Callable[[Stamp], Encoder]
    ignored: tuple[str, ...] = ()
    """Every field of the request without effect, in the request's order, those that `plan` found included."""


class Call(Protocol):
    """A client's request, read and checked, before its model is known."""

    @property
    def model(self) -> str:
        """The name as the client spelled it."""
        ...

    @property
    def stream(self) -> bool: ...

    @property
    def user(self) -> str | None:
        """`safety_identifier`, else `user`: for the log, never for Ollama."""
        ...

    @property
    def needs_facts(self) -> bool:
        """Whether `plan` must know the model's capabilities or its stop list: costs a look at `/api/show`, cached by digest."""
        ...

    def plan(self, facts: ModelFacts, policy: Policy) -> Plan:
        """The native calls. Raises `InvalidRequest` or `UnsupportedValue` where this model cannot do what is asked."""
        ...


class Dialect(Protocol):
    """One way of speaking to clients."""

    def parse(self, body: bytes, limits: Limits) -> Call:
        """Read a body. Raises `InvalidJSON`, or `InvalidRequest` with the `param` at fault."""
        ...
