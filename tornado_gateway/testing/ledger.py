"""What the simulated Ollama saw: connections, requests, model loads, and who closed what when.

Times are seconds of CLOCK_MONOTONIC (`time.monotonic`), so that another process on the machine can compare its own. The
ledger is bounded in entries and in bytes of bodies; its counters are not.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from tornado_gateway.testing import gojson

INFERENCE = frozenset({"/api/chat", "/api/generate", "/api/embed"})
MAX_BODY_BYTES = 256 * 1024 * 1024

Closer = Literal["peer", "server"]


@dataclass(slots=True)
class ConnectionEntry:
    """One connection. `closed_by` and `how` (`fin`, `rst`) are set when it ends."""

    number: int
    peer: str
    opened_at: float
    closed_at: float | None = None
    closed_by: Closer | None = None
    how: Literal["fin", "rst"] | None = None
    requests: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0


@dataclass(slots=True)
class RequestEntry:
    """One request, entered when its last byte has arrived.

    `answered` says that the whole answer, end of framing included, was handed to the socket. `left_at` is when the peer
    closed before that. An answer that was cut on purpose is neither.
    """

    number: int
    connection: int
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case; values of a repeated name are joined with ", "."""
    raw: bytes
    arrived_at: float
    status: int | None = None
    started_at: float | None = None
    """When it got its place on the model: its wait for a load or a slot was over."""
    first_byte_at: float | None = None
    last_byte_at: float | None = None
    ended_at: float | None = None
    bytes_sent: int = 0
    records_sent: int = 0
    answered: bool = False
    left_at: float | None = None

    @property
    def body(self) -> Any:
        """The body decoded, or None when it is not JSON."""
        try:
            return gojson.decode(self.raw)
        except gojson.NotJSON:
            return None

    @property
    def model(self) -> str | None:
        body = self.body
        return body.get("model") if isinstance(body, dict) else None

    @property
    def in_flight(self) -> bool:
        return self.ended_at is None


@dataclass(frozen=True, slots=True)
class LoadEntry:
    """A model was loaded (or loaded anew, because a load-time option changed)."""

    model: str
    at: float
    options: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """Everything seen, oldest first. Read it freely from the loop that serves; wait with `wait_for`."""

    def __init__(self, max_entries: int = 10_000) -> None:
        self.connections: deque[ConnectionEntry] = deque(maxlen=max_entries)
        self.requests: deque[RequestEntry] = deque(maxlen=max_entries)
        self.loads: deque[LoadEntry] = deque(maxlen=max_entries)
        self.clear()

    def clear(self) -> None:
        """Forget what is over, counters included; what is still open stays."""
        open_connections = [entry for entry in self.connections if entry.closed_at is None]
        open_requests = [entry for entry in self.requests if entry.in_flight]
        for kept, entries in ((self.connections, open_connections), (self.requests, open_requests)):
            kept.clear()
            kept.extend(entries)  # type: ignore[arg-type]  # the pairs match, which the tuple cannot say
        self.loads.clear()
        self.connections_opened = self.open_connections = len(open_connections)
        self.connections_closed = 0
        self.requests_seen = self.in_flight = self.max_in_flight = len(open_requests)
        self._bytes = sum(len(entry.raw) for entry in open_requests)
        self._waiters: list[tuple[Callable[[Ledger], Any], asyncio.Future[Any]]] = getattr(self, "_waiters", [])

    @property
    def inference(self) -> list[RequestEntry]:
        """Requests to `/api/chat`, `/api/generate` and `/api/embed`."""
        return [entry for entry in self.requests if entry.path in INFERENCE]

    def to(self, path: str) -> list[RequestEntry]:
        return [entry for entry in self.requests if entry.path == path]

    @property
    def last(self) -> RequestEntry:
        """The latest request to an inference endpoint. Raises `LookupError` when there was none."""
        for entry in reversed(self.requests):
            if entry.path in INFERENCE:
                return entry
        raise LookupError("No request has asked a model yet.")

    async def wait_for(self, predicate: Callable[[Ledger], Any], timeout: float = 5.0) -> Any:
        """Wait until `predicate(ledger)` is true and return what it gave. Raises `TimeoutError` with the ledger's state."""
        if result := predicate(self):
            return result
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiter = (predicate, future)
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise TimeoutError(f"Not seen within {timeout} s. The ledger: {self!r}") from None
        finally:
            self._waiters.remove(waiter)

    def __repr__(self) -> str:
        tail = "; ".join(
            f"#{entry.number} {entry.method} {entry.path} status={entry.status} records={entry.records_sent} "
            f"answered={entry.answered} left={entry.left_at is not None}"
            for entry in list(self.requests)[-5:]
        )
        return f"<{self.requests_seen} requests, {self.open_connections} open connections; last: {tail or 'none'}>"

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values, for the control endpoint; `raw` as text, `body` decoded."""
        return {
            "now": time.monotonic(),
            "connections_opened": self.connections_opened,
            "connections_closed": self.connections_closed,
            "open_connections": self.open_connections,
            "requests_seen": self.requests_seen,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "connections": [_plain(entry) for entry in self.connections],
            "requests": [_plain(entry) | {"body": entry.body} for entry in self.requests],
            "loads": [_plain(entry) for entry in self.loads],
        }

    # What the server reports. Each call is one event; those who wait look again after each.

    def opened(self, peer: str) -> ConnectionEntry:
        self.connections_opened += 1
        self.open_connections += 1
        entry = ConnectionEntry(self.connections_opened, peer, time.monotonic())
        self.connections.append(entry)
        self.changed()
        return entry

    def hide(self, entry: ConnectionEntry) -> None:
        """Take a connection out of the account: it carries commands, not traffic."""
        if entry.number:
            entry.number = 0
            self.connections.remove(entry)
            self.connections_opened -= 1
            self.open_connections -= 1
            self.changed()

    def closed(self, entry: ConnectionEntry, by: Closer, how: Literal["fin", "rst"]) -> None:
        if entry.closed_at is not None or not entry.number:
            return
        entry.closed_at, entry.closed_by, entry.how = time.monotonic(), by, how
        self.connections_closed += 1
        self.open_connections -= 1
        self.changed()

    def arrived(self, connection: ConnectionEntry, method: str, path: str, headers: dict[str, str], raw: bytes) -> RequestEntry:
        self.requests_seen += 1
        connection.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        entry = RequestEntry(self.requests_seen, connection.number, method, path, headers, raw, time.monotonic())
        self._bytes += len(raw)
        while self.requests and (self._bytes > MAX_BODY_BYTES or len(self.requests) == self.requests.maxlen):
            self._bytes -= len(self.requests.popleft().raw)
        self.requests.append(entry)
        self.changed()
        return entry

    def ended(self, entry: RequestEntry) -> None:
        if entry.ended_at is None and entry.number:
            entry.ended_at = time.monotonic()
            self.in_flight -= 1
            self.changed()

    def loaded(self, model: str, options: Mapping[str, Any]) -> None:
        self.loads.append(LoadEntry(model, time.monotonic(), dict(options)))
        self.changed()

    def changed(self) -> None:
        for predicate, future in self._waiters:
            if future.done():
                continue
            try:
                result = predicate(self)
            except Exception as error:  # noqa: BLE001  # the waiter's own fault is the waiter's to see
                future.set_exception(error)
            else:
                if result:
                    future.set_result(result)


def _plain(entry: ConnectionEntry | RequestEntry | LoadEntry) -> dict[str, Any]:
    values = {item.name: getattr(entry, item.name) for item in fields(entry)}
    if isinstance(entry, RequestEntry):
        values["raw"] = entry.raw.decode("utf-8", "replace")
    return values
