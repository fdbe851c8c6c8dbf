"""The way to one new connection: name, address, socket, TLS. It can be given up at any instant, and no socket is left.

Tornado's own connector loses a socket that is cancelled in the very turn in which it connects; here each step says how it
is ended: a task is cancelled, or a transport is aborted, never one in the place of the other.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable

from tornado_gateway.errors import GatewayError, Overloaded, UpstreamUnavailable
from tornado_gateway.upstream.addresses import connected_socket
from tornado_gateway.upstream.connection import Connection
from tornado_gateway.upstream.target import Target

_OUR_OWN_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class Dial:
    """One attempt. `done` is called once, with what went wrong or None, unless `abort` came first."""

    def __init__(
        self,
        target: Target,
        connection: Connection,
        context: Callable[[], ssl.SSLContext],
        done: Callable[[GatewayError | None], None],
    ) -> None:
        self._target = target
        self._connection = connection
        self._context = context
        self._done = done
        self._aborted = False
        self._opening = False
        self._transport: asyncio.Transport | None = None
        self.task = asyncio.get_running_loop().create_task(self._run())

    def abort(self) -> None:
        """Give up. What is open is closed in this turn or the next, and `done` is not called."""
        self._aborted = True
        if self._transport is not None:
            self._transport.abort()
        # While the loop takes over the socket, it is nobody's to close; that takes two turns, then `_run` sees the flag.
        if not self._opening:
            self.task.cancel()

    async def _run(self) -> None:
        try:
            await self._open()
            if self._target.tls:
                await self._secure()
            if self._transport is None or self._transport.is_closing():
                raise ConnectionResetError("closed before anything was sent")
        except asyncio.CancelledError:
            self._close()
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the one who waits must hear of it
            self._close()
            if not self._aborted:
                self._done(_failure(error))
        else:
            if not self._aborted:
                self._done(None)

    async def _open(self) -> None:
        sock = await connected_socket(self._target.host, self._target.port)
        self._connection.socket = sock
        self._opening = True
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: self._connection, sock=sock)
        finally:
            self._opening = False
        self._transport = transport
        if self._aborted:
            transport.abort()

    async def _secure(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("closed before TLS began")
        # The client's own timer bounds the handshake, together with everything before it.
        secured = await asyncio.get_running_loop().start_tls(
            transport, self._connection, self._context(), server_hostname=self._target.host
        )
        # asyncio gives None when the connection is lost without an error in the handshake.
        if secured is None:
            raise ConnectionResetError("closed during the TLS handshake")
        self._transport = self._connection.transport = secured

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            # The loops tell a protocol of a loss only once its TLS handshake was done; told twice does no harm.
            self._connection.connection_lost(None)


def _failure(error: Exception) -> GatewayError:
    """The error for callers: it names no address, since that is the operator's to know; the cause has it."""
    failure: GatewayError
    if isinstance(error, OSError) and error.errno in _OUR_OWN_SHORTAGE:
        failure = Overloaded("The gateway has no more connections to give. Try again shortly.", retry_after=1.0)
    elif isinstance(error, ssl.SSLError):
        failure = UpstreamUnavailable("No connection to Ollama could be made: its certificate or TLS is not acceptable.")
    else:
        failure = UpstreamUnavailable("No connection to Ollama could be made.", retry_after=1.0)
    failure.__cause__ = error
    return failure
