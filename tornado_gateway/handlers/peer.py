"""The client's connection, as the request that is at work on it sees it: ours, or that of somebody else's Tornado server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tornado_gateway.presence import Presence

_STRANGER_BYTES = 64 * 1024
STRANGER_SECONDS = 1.0
_KNOWN_BYTES = 256 * 1024 * 1024
_KNOWN_SECONDS = 10.0


class ReaderStalled(Exception):
    """The client took nothing for longer than `server.write_stall_seconds`."""


class Peer(Protocol):
    """A connection. It also tells the request's handler, by Tornado's close callback, when the client has left."""

    @property
    def closed(self) -> bool:
        """Whether the client has left, or we have closed: nothing that is written goes anywhere."""
        ...

    @property
    def congested(self) -> bool:
        """Whether bytes wait that the kernel did not take."""
        ...

    def watch(self, presence: Presence, gone: Callable[[], None]) -> None:
        """Have `gone` called when the client leaves, where the close callback alone could miss it."""
        ...

    def forget(self, presence: Presence, gone: Callable[[], None]) -> None:
        """End that watch."""
        ...

    def write(self, data: bytes) -> bool:
        """Send; never waits. False when bytes wait that the kernel did not take."""
        ...

    async def drain(self, stall_seconds: float) -> None:
        """Wait until the kernel has taken all.

        Raises `ReaderStalled` when the client took nothing for that long, as far as that can be seen, and Tornado's `StreamClosedError`
        when it has left.
        """
        ...

    async def flush(self, seconds: float) -> None:
        """Wait until the kernel has taken all, or the client has left, or this time is over."""
        ...

    def finish(self, *, keep_alive: bool) -> None:
        """The answer is written. The connection goes on with the next request, or ends when all is on its way."""
        ...

    async def shut_sending(self) -> None:
        """Tell the client that nothing more comes, once all that was written is on its way."""
        ...

    async def linger(self, *, generous: bool) -> None:
        """Drop what the client still sends until it has closed, or `linger_bounds` are met, then close.

        As nginx does (`lingering_close`): a close with bytes unread is a reset, and a reset throws away the answer that was sent.
        """
        ...

    def close(self) -> None:
        """Close at once."""
        ...


def linger_bounds(*, generous: bool) -> tuple[float, int]:
    """For how long, in seconds, and how many bytes what still comes is read and dropped; `generous` for clients with a right to upload."""
    return (_KNOWN_SECONDS, _KNOWN_BYTES) if generous else (STRANGER_SECONDS, _STRANGER_BYTES)
