"""What all handlers of one gateway share: parts, live settings, and the requests that are at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tornado_gateway.exchange import Exchange
from tornado_gateway.handlers.peer import Peer
from tornado_gateway.hooks import Hooks
from tornado_gateway.lag import LoopLag
from tornado_gateway.models import Catalog
from tornado_gateway.presence import Presence
from tornado_gateway.upstream import Ollama


class AtWork(Protocol):
    """A request that has not ended."""

    peer: Peer

    def stop(self) -> None:
        """End it because the server stops."""
        ...


@dataclass(frozen=True, slots=True)
class FaceRules:
    """What the configuration says about the HTTP face: replaced as a whole on a reload."""

    max_body_bytes: int
    write_stall_seconds: float
    hosts: frozenset[str] | None
    """Names under which we may be asked; None: any."""
    cors_origins: frozenset[str]
    upstream_failure_status: int | None


@dataclass(slots=True)
class Services:
    """One gateway's parts, as its handlers see them."""

    exchange: Exchange
    hooks: Hooks
    catalog: Catalog
    ollama: Ollama
    presence: Presence
    rules: FaceRules
    new_id: Callable[[], str]
    lag: LoopLag
    draining: bool = False
    at_work: set[AtWork] = field(default_factory=set)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no request is at work."""

    def begin(self, request: AtWork) -> None:
        if not self.at_work:
            self.idle.clear()
        self.at_work.add(request)

    def end(self, request: AtWork) -> None:
        self.at_work.discard(request)
        if not self.at_work:
            self.idle.set()
