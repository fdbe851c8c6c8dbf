"""A connected socket from a host and a port: names and addresses, IPv6 and IPv4, whichever answers first.

Every socket made here is closed here, unless it is the one that is returned: also when the caller is cancelled at any instant.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_HEAD_START = 0.25
"""Seconds that an address has for itself before the next one is tried beside it (RFC 8305, section 5)."""


@dataclass(frozen=True, slots=True)
class Address:
    """What `socket.socket` and `connect` take."""

    family: int
    name: Any


async def connected_socket(host: str, port: int) -> socket.socket:
    """A socket connected to the first address of `host` that answers. Raises OSError when none does."""
    addresses = await _addresses(host, port)
    if len(addresses) == 1:
        return await _connect(addresses[0])
    return await first_connected(addresses)


async def first_connected(addresses: Sequence[Address]) -> socket.socket:
    """Try the addresses side by side, each with a head start over the next one, or as soon as all before it have failed."""
    loop = asyncio.get_running_loop()
    attempts: list[asyncio.Task[socket.socket]] = []
    waiting = [*reversed(addresses)]
    winner: asyncio.Task[socket.socket] | None = None
    try:
        while winner is None:
            if waiting:
                attempts.append(loop.create_task(_connect(waiting.pop())))
            running = [attempt for attempt in attempts if not attempt.done()]
            if running:
                await asyncio.wait(running, timeout=_HEAD_START if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            winner = next((attempt for attempt in attempts if attempt.done() and attempt.exception() is None), None)
            if winner is None and not waiting and all(attempt.done() for attempt in attempts):
                break
    finally:
        for attempt in attempts:
            if attempt is not winner:
                attempt.add_done_callback(_close_unwanted)
                attempt.cancel()
    if winner is None:
        # All have failed: the last address is the likeliest one to be meant (localhost: ::1, then 127.0.0.1).
        return attempts[-1].result()
    return winner.result()


async def _addresses(host: str, port: int) -> Sequence[Address]:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        # Also for scoped addresses ("fe80::1%eth0"), whose scope only the resolver can number.
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [*dict.fromkeys(Address(entry[0], entry[4]) for entry in found)]
    return [Address(socket.AF_INET if version == 4 else socket.AF_INET6, (host, port))]


async def _connect(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # A request is one small write: it must not wait for the answer to an earlier packet.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(sock, address.name)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_unwanted(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
