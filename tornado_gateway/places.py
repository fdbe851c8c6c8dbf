"""The sockets at which workers serve: a place for each, all at one address, which stays ours also while nobody serves there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from tornado_gateway.server import BACKLOG, CannotListen, listen_at

Address = tuple[socket.AddressFamily, Any]
"""A family, and a name in it."""


class Place:
    """Where one worker serves, and the next when that one has ended. Without addresses it has `sockets` for good, as all places have."""

    def __init__(self, number: int, addresses: Sequence[Address], sockets: Sequence[socket.socket] = ()) -> None:
        self.number = number
        self.sockets = list(sockets)
        self.served = asyncio.Event()
        """Whether a worker has been ready here."""
        self.listens = False
        """Whether one has been since the sockets were opened: who connects now waits for the next."""
        self._addresses = addresses

    def open(self) -> None:
        """Have sockets, which listen when a worker is ready: nobody waits for one that may never be. Raises `OSError`."""
        if not self.sockets:
            self.sockets = _bound_all(self._addresses)

    def serve(self) -> None:
        """A worker is ready here."""
        self.served.set()
        self.listens = bool(self._addresses)

    def vacate(self) -> None:
        """Nobody serves here for now: who waits is reset, and who connects from now on comes to another place, or is refused by all."""
        if self._addresses:
            self.close()

    def close(self) -> None:
        """While a listening socket is open in any process, connections to it are accepted by the kernel."""
        self.listens = False
        _close(self.sockets)


class Places:
    """All places of a server; the first listens. Raises `CannotListen` when another program listens there, also one of ours."""

    def __init__(self, host: str, port: int, count: int) -> None:
        alone = listen_at(host, port)
        self._kept: list[socket.socket] = []
        if sys.platform != "linux":
            # The last socket that binds would get all connections: one queue for all, in which nobody waits for a certain worker.
            self._all = [Place(number, (), alone) for number in range(count)]
            return
        addresses: list[Address] = [(bound.family, bound.getsockname()) for bound in alone]
        _close(alone)
        self._all = [Place(number, addresses) for number in range(count)]
        try:
            self._kept = _bound_all(addresses)
            self._all[0].open()
            for bound in self._all[0].sockets:
                bound.listen(BACKLOG)
        except OSError as error:
            self.close()
            raise CannotListen(*error.args) from error
        for bound in self._kept:
            # These never listen. With this they keep other programs from the address while no worker does. Sockets that listen would hand
            # it on to their connections, of which some outlast the server: the next one could not have its address.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    def __iter__(self) -> Iterator[Place]:
        return iter(self._all)

    def __getitem__(self, number: int) -> Place:
        return self._all[number]

    def close(self) -> None:
        """For good: the address is anybody's."""
        for place in self._all:
            place.close()
        _close(self._kept)


def _bound_all(addresses: Sequence[Address]) -> list[socket.socket]:
    with contextlib.ExitStack() as undo:
        sockets = [undo.enter_context(_bound(*address)) for address in addresses]
        undo.pop_all()
    return sockets


def _bound(family: socket.AddressFamily, name: Any) -> socket.socket:
    """A socket that shares its address with others of ours, and does not listen yet."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(name)
    except OSError:
        bound.close()
        raise
    return bound


def _close(sockets: list[socket.socket]) -> None:
    while sockets:
        sockets.pop().close()
