"""Tornado's `AsyncHTTPClient` on an engine that can be stopped, for one kind of upstream: Ollama.

What it does that Tornado's own engines do not: cancelling the future that `fetch` returns closes the connection at once, in
every phase; a `streaming_callback` that returns an awaitable stops the reading until that is done; a request that was written
is never sent again; an answer without explicit framing is refused. What it does not do: redirects, compression, cookies,
proxies, HTTP/2.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from tornado_gateway.errors import GatewayError, ShuttingDown
from tornado_gateway.upstream.connection import Connection
from tornado_gateway.upstream.dial import Dial
from tornado_gateway.upstream.pool import Pool
from tornado_gateway.upstream.target import Target, request_head, target_of
from tornado_gateway.upstream.timers import Clock, tick_for
from tornado_gateway.upstream.transfer import Limits, Transfer


class Fetch(asyncio.Future[HTTPResponse]):
    """What `fetch` returns. Cancelling it, or the task that awaits it, ends the transfer in that very call."""

    transfer: Transfer | None = None

    def cancel(self, msg: Any | None = None) -> bool:
        if self.transfer is not None:
            self.transfer.abort()
        return super().cancel(msg)


class OllamaHTTPClient(AsyncHTTPClient):
    """Build it with `OllamaHTTPClient(force_instance=True, limits=...)` inside a running loop; `close` it at the end.

    Bodies go to the request's `streaming_callback`, in pieces as they arrive, when the status is 200; the body of any other
    answer is collected in `response.body`, its first 64 KB at most, so that an error text never mixes with an answer. Failures
    are classes of `tornado_gateway.errors`: `UpstreamUnavailable` when nothing was sent, else `UpstreamClosed`,
    `UpstreamTimeout` or `UpstreamInvalidResponse`. A request's own `connect_timeout` and `request_timeout` beat `limits`;
    0 means no limit.
    """

    def initialize(self, defaults: dict[str, Any] | None = None, *, limits: Limits | None = None) -> None:
        super().initialize(defaults)
        self._loop = asyncio.get_running_loop()
        self._limits = limits or Limits()
        self._clock = Clock(
            self._loop, tick_for((self._limits.connect, self._limits.first_byte, self._limits.idle, self._limits.total))
        )
        self._pool = Pool(self._clock)
        self._transfers: set[Transfer] = set()
        self._dials: set[Dial] = set()
        self._connections: set[Connection] = set()
        self._none_open: asyncio.Future[None] | None = None
        self._tls: ssl.SSLContext | None = None

    def fetch(self, request: str | HTTPRequest, raise_error: bool = True, **kwargs: Any) -> asyncio.Future[HTTPResponse]:
        """As the base class's, but that cancelling the future stops the transfer."""
        if not isinstance(request, HTTPRequest):
            request = HTTPRequest(url=request, **kwargs)
        elif kwargs:
            raise ValueError("kwargs can't be used if request is an HTTPRequest object")
        future = Fetch(loop=self._loop)

        def ended(response: HTTPResponse) -> None:
            future.transfer = None
            if future.done():
                return
            error = response.error
            if error is not None and (raise_error or not response._error_is_response_code):
                future.set_exception(error)
            else:
                future.set_result(response)

        future.transfer = self.start(request, ended)
        return future

    def start(self, request: HTTPRequest, callback: Callable[[HTTPResponse], None], limits: Limits | None = None) -> Transfer:
        """As `fetch`, without a future: `callback` is called at the end of the transfer, unless that is aborted before.

        `limits` are this transfer's, instead of the client's. One that is shorter is kept to the client's ticks.
        It is called in the very turn of the loop in which the end came; through a future it takes two more.
        """
        if self._closed:
            raise RuntimeError("fetch() called on closed AsyncHTTPClient")
        return self._begin(request, callback, limits)

    def fetch_impl(self, request: HTTPRequest, callback: Callable[[HTTPResponse], None]) -> None:
        """The base class's way in. It gives nothing that could be cancelled: `fetch` does not come through here."""
        self._begin(request, callback)

    def close(self) -> None:
        """Close every connection. What is still under way fails with `ShuttingDown`."""
        super().close()
        for transfer in [*self._transfers]:
            transfer.fail(ShuttingDown("The gateway is about to stop."))
        self._pool.close()
        self._clock.stop()

    async def closed(self) -> None:
        """Wait until every socket is closed; after `close` that takes a few turns of the loop."""
        await asyncio.gather(*(dial.task for dial in self._dials), return_exceptions=True)
        if self._connections:
            self._none_open = self._none_open or self._loop.create_future()
            await asyncio.shield(self._none_open)
        # The loop closes the socket of an aborted transport in the turn after.
        await asyncio.sleep(0)

    def _begin(self, request: HTTPRequest, callback: Callable[[HTTPResponse], None], limits: Limits | None = None) -> Transfer:
        target = target_of(request.url)
        head, body = _written(request, target)

        def ended(response: HTTPResponse | None) -> None:
            self._transfers.discard(transfer)
            self._clock.discard(transfer)
            if response is not None:
                callback(response)

        transfer = Transfer(request, limits or self._limits_of(request), ended, self._loop)
        self._transfers.add(transfer)
        self._clock.add(transfer)
        connection = self._pool.take(target.origin)
        if connection is not None:
            transfer.send(connection, head, body)
        else:
            self._dial(transfer, target, head, body)
        return transfer

    def _dial(self, transfer: Transfer, target: Target, head: bytes, body: bytes) -> None:
        connection = Connection(target.origin, self._made, self._released, self._lost)

        def done(error: GatewayError | None) -> None:
            if error is not None:
                transfer.fail(error)
            else:
                transfer.send(connection, head, body)

        dial = Dial(target, connection, self._context, done)
        transfer.dialling(dial)
        self._dials.add(dial)
        dial.task.add_done_callback(lambda task: self._dialled(dial, task))

    def _dialled(self, dial: Dial, task: asyncio.Task[None]) -> None:
        self._dials.discard(dial)
        if not task.cancelled():
            task.result()

    def _made(self, connection: Connection) -> None:
        self._connections.add(connection)

    def _released(self, connection: Connection) -> None:
        if self._closed:
            connection.abort()
        else:
            self._pool.put(connection, self._loop.time())

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._pool.discard(connection)
        if not self._connections and self._none_open is not None and not self._none_open.done():
            self._none_open.set_result(None)

    def _context(self) -> ssl.SSLContext:
        # Made when it is first needed: it reads the system's certificates, which takes tens of milliseconds.
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _limits_of(self, request: HTTPRequest) -> Limits:
        connect, total = request.connect_timeout, request.request_timeout
        if connect is None and total is None:
            return self._limits
        return replace(
            self._limits,
            connect=self._limits.connect if connect is None else connect or None,
            total=self._limits.total if total is None else total or None,
        )


def _written(request: HTTPRequest, target: Target) -> tuple[bytes, bytes]:
    body = request.body
    if body is None and request.method in ("POST", "PUT", "PATCH"):
        body = b""
    head = request_head(request.method, target, request.headers.items(), None if body is None else len(body))
    return head, body or b""
