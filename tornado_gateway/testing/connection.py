"""One connection of the simulated Ollama: bytes in, answers out, and the moment at which the peer leaves.

It never stops reading, so that a peer that closes is noticed at once in every phase: while it waits for a load, between
two records, or behind a stray byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any, Literal, cast

from tornado_gateway.testing.framing import Step
from tornado_gateway.testing.http import BadRequest, Request, RequestReader
from tornado_gateway.testing.ledger import ConnectionEntry, Ledger, RequestEntry
from tornado_gateway.testing.replies import Reply

Serve = Callable[[Request, RequestEntry], Reply | Callable[[], Coroutine[Any, Any, Reply]]]
Control = Callable[[Request], Coroutine[Any, Any, Reply]]
CONTROL = "/control/"
_LINGER_NOT = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """`serve` gives the answer to a request, or a function whose coroutine gives it after waiting."""

    def __init__(self, serve: Serve, ledger: Ledger, connections: set[Connection], control: Control | None = None) -> None:
        self._serve = serve
        self._control = control
        self._ledger = ledger
        self._connections = connections
        self._reader = RequestReader()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        self._entry: ConnectionEntry = None  # type: ignore[assignment]  # likewise
        self._request: RequestEntry | None = None
        self._reply: Reply | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._closing = False
        self._keep_alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, only of the same shape.
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        self._entry = self._ledger.opened(f"{peer[0]}:{peer[1]}")
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._entry.bytes_received += len(data)
        self._reader.feed(data)
        self._pump()

    def eof_received(self) -> bool:
        """FIN. Ollama takes it for leaving even when the peer could still read."""
        self._peer_left("fin")
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        if error is not None and not self._closing:
            self._peer_left("rst")
        self._ledger.closed(self._entry, "server", "fin")
        self._over(answered=False)
        self._ledger.changed()

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def close(self, *, reset: bool = False, now: bool = False) -> None:
        """End the connection, with FIN once what was written is sent, or with RST. `now` waits for nothing."""
        if self._closing and not now:
            return
        self._closing = True
        self._ledger.closed(self._entry, "server", "rst" if reset else "fin")
        if reset:
            sock = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            self._transport.abort()
        elif now:
            self._transport.abort()
        else:
            self._transport.close()

    def send(self, data: bytes) -> None:
        """Bytes that nobody asked for."""
        self._entry.bytes_sent += len(data)
        self._transport.write(data)

    @property
    def number(self) -> int:
        """Its number in the ledger."""
        return self._entry.number

    # From here on: one request after the other.

    def _pump(self) -> None:
        while self._request is None and not self._closing:
            try:
                request = self._reader.next()
            except BadRequest as error:
                self._refuse(str(error))
                return
            if self._reader.wants_continue:
                self._reader.wants_continue = False
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if request is None:
                return
            self._begin(request)

    def _refuse(self, text: str) -> None:
        head = (
            f"HTTP/1.1 {text.partition(':')[0]}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{text}"
        )
        self._transport.write(head.encode())
        self.close()

    def _begin(self, request: Request) -> None:
        if request.path.startswith(CONTROL) and self._control is not None:
            self._command(request, self._control)
            return
        entry = self._ledger.arrived(self._entry, request.method, request.path, request.headers, request.body)
        self._request = entry
        self._keep_alive = request.keep_alive
        outcome = self._serve(request, entry)
        if isinstance(outcome, Reply):
            self._deliver(outcome)
        else:
            self._task = asyncio.get_running_loop().create_task(self._wait_and_deliver(outcome))

    def _command(self, request: Request, control: Control) -> None:
        """A command is no traffic: neither it nor its connection stands in the ledger."""
        self._ledger.hide(self._entry)
        self._request = RequestEntry(0, 0, request.method, request.path, {}, b"", time.monotonic())
        self._keep_alive = request.keep_alive
        self._task = asyncio.get_running_loop().create_task(self._wait_and_deliver(lambda: control(request)))

    async def _wait_and_deliver(self, wait: Callable[[], Coroutine[Any, Any, Reply]]) -> None:
        reply = await wait()
        self._task = None
        self._deliver(reply)
        self._pump()

    def _deliver(self, reply: Reply) -> None:
        """Write what can be written now; the rest, with its pauses, is a task's."""
        self._reply = reply
        if self._request is not None and reply.status:
            self._request.status = reply.status
        for step in reply.steps:
            if step[0] > 0 or self._writable is not None:
                self._task = asyncio.get_running_loop().create_task(self._continue(reply, step))
                return
            self._write(step)
        self._finish(reply)

    async def _continue(self, reply: Reply, step: Step) -> None:
        """Steps at their times: a late one does not delay those after it."""
        loop = asyncio.get_running_loop()
        due = loop.time() + step[0]
        while True:
            delay = due - loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            self._write(step)
            if self._writable is not None:
                await self._writable
            following = next(reply.steps, None)
            if following is None:
                break
            step = following
            due += step[0]
        self._task = None
        self._finish(reply)
        self._pump()

    def _write(self, step: Step) -> None:
        _, data, records = step
        if not data:
            return
        self._transport.write(data)
        self._entry.bytes_sent += len(data)
        if self._request is not None:
            self._request.last_byte_at = now = time.monotonic()
            if self._request.first_byte_at is None:
                self._request.first_byte_at = now
            self._request.bytes_sent += len(data)
            self._request.records_sent += records
            self._ledger.changed()

    def _finish(self, reply: Reply) -> None:
        """All is sent: what becomes of the connection."""
        if reply.end == "hang":
            return
        self._over(answered=reply.whole)
        if reply.end in {"close", "reset"}:
            self.close(reset=reply.end == "reset")
        elif not self._keep_alive:
            self.close()

    def _peer_left(self, how: Literal["fin", "rst"]) -> None:
        self._closing = True
        if self._request is not None:
            self._request.left_at = time.monotonic()
        self._ledger.closed(self._entry, "peer", how)
        self._over(answered=False)

    def _over(self, *, answered: bool) -> None:
        """The request, if there is one, has ended: what it holds is given back, exactly once."""
        entry, self._request = self._request, None
        reply, self._reply = self._reply, None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if reply is not None:
            reply.release()
        if entry is not None:
            entry.answered = answered
            self._ledger.ended(entry)
