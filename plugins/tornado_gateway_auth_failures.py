"""Wrong keys cost time: an address that fails too often waits for each further refusal, and nobody else does.

What is remembered is bounded, and so is the number of calls that wait; beyond it the refusal comes at once.
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address, ip_address, ip_network

from cachetools import LRUCache

from tornado_gateway.hookspecs import Shared, SharedUnavailable

FAILURES_A_MINUTE = 100
HELD_SECONDS = 0.25
MOST_HELD = 64
MOST_ADDRESSES = 4096
_MINUTE = 60.0


class Failures:
    """Holds up those who fail too often. With several workers the failures are counted in their parent."""

    def __init__(self, shared: Shared | None = None) -> None:
        self._shared = shared
        self._tally = Tally()
        self._held = 0

    async def hold(self, address: str, now: float) -> None:
        """Note a failure at `now` (monotonic seconds), and wait if there were too many."""
        if await self._count(_neighbourhood(address), now) <= FAILURES_A_MINUTE or self._held >= MOST_HELD:
            return
        self._held += 1
        try:
            await asyncio.sleep(HELD_SECONDS)
        finally:
            self._held -= 1

    async def _count(self, address: str, now: float) -> int:
        if self._shared is None:
            return self._tally.note(address, now)
        try:
            count: int = await self._shared.call("failed", address, now)
        except SharedUnavailable:
            return self._tally.note(address, now)
        return count


class Tally:
    """Counts failures by address, in minutes that begin with an address's first failure."""

    def __init__(self) -> None:
        self._seen: LRUCache[str, tuple[float, int]] = LRUCache(MOST_ADDRESSES)

    def note(self, address: str, now: float) -> int:
        """How often this address has failed in its minute, this time included."""
        since, count = self._seen.get(address, (now, 0))
        if now - since >= _MINUTE:
            since, count = now, 0
        self._seen[address] = (since, count + 1)
        return count + 1


def _neighbourhood(address: str) -> str:
    """An IPv6 address stands for its /64: whoever has one has them all."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((int(parsed), 64), strict=False))
    return str(parsed)
