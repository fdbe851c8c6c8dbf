"""Idle connections, few and not for long. The last one used is the first to be used again."""

from __future__ import annotations

from tornado_gateway.upstream.connection import Connection
from tornado_gateway.upstream.target import Origin
from tornado_gateway.upstream.timers import Clock


class Pool:
    """At most `max_idle` connections, none idle for longer than `idle_seconds`.

    A proxy in front of Ollama closes idle connections, mostly after a minute or more: they are dropped well before, since a
    request that meets such a close is lost.
    """

    def __init__(self, clock: Clock, *, max_idle: int = 64, idle_seconds: float = 30.0) -> None:
        self._clock = clock
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._idle: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, origin: Origin) -> Connection | None:
        """A connection to `origin` on which a request may be written now; those found dead are dropped."""
        for connection in [*reversed(self._idle)]:
            if connection.origin == origin:
                self.discard(connection)
                if connection.usable():
                    return connection
                connection.abort()
        return None

    def put(self, connection: Connection, now: float) -> None:
        connection.idle_since = now
        self._idle[connection] = None
        self._clock.add(self)
        if len(self._idle) > self._max_idle:
            oldest = next(iter(self._idle))
            self.discard(oldest)
            oldest.abort()

    def discard(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        if not self._idle:
            self._clock.discard(self)

    def check(self, now: float) -> None:
        for connection in [*self._idle]:
            if now - connection.idle_since < self._idle_seconds:
                break
            self.discard(connection)
            connection.abort()

    def close(self) -> None:
        """Close all that is idle."""
        for connection in [*self._idle]:
            self.discard(connection)
            connection.abort()
