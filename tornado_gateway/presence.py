"""Whether a client is still there while its request is at work.

Tornado alone cannot tell: one byte that the client sent after its request hides its leaving (docs/reliability.md). A second
`epoll` that waits for nothing but the peer's FIN or RST sees it at once, whatever bytes lie unread; its own descriptor is
readable in the event loop when it has something to say. Where there is no `EPOLLRDHUP`, a `kqueue` does the same; elsewhere
Tornado's close callback is what there is. A client that only shut down its sending side counts as gone, as it does for Ollama.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable
from typing import Protocol


class Presence(Protocol):
    """Watches descriptors of sockets."""

    def watch(self, descriptor: int, gone: Callable[[], None]) -> None:
        """Call `gone` once, from the event loop, when the peer of `descriptor` has left. One watch for each descriptor."""
        ...

    def forget(self, descriptor: int, gone: Callable[[], None]) -> None:
        """End the watch that was begun with the same two, if it still stands: the number may be another connection's by now."""
        ...

    def close(self) -> None: ...


def watcher() -> Presence:
    """The best watcher of this platform, for the running event loop."""
    if hasattr(select, "EPOLLRDHUP"):
        return _EpollPresence()
    if hasattr(select, "kqueue"):
        return _KqueuePresence()
    return _NoPresence()


class _EpollPresence:
    def __init__(self) -> None:
        self._watched: dict[int, Callable[[], None]] = {}
        self._epoll = select.epoll()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._ready)

    def watch(self, descriptor: int, gone: Callable[[], None]) -> None:
        self._watched[descriptor] = gone
        try:
            self._epoll.register(descriptor, select.EPOLLRDHUP)  # EPOLLERR and EPOLLHUP come without being asked for
        except FileExistsError:
            self._epoll.modify(descriptor, select.EPOLLRDHUP)

    def forget(self, descriptor: int, gone: Callable[[], None]) -> None:
        if self._watched.get(descriptor) == gone:
            del self._watched[descriptor]
            with contextlib.suppress(OSError):  # closed already: the kernel has forgotten it by itself
                self._epoll.unregister(descriptor)

    def close(self) -> None:
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _ready(self) -> None:
        for descriptor, _ in self._epoll.poll(0, max(1, len(self._watched))):
            gone = self._watched.get(descriptor)
            if gone is not None:
                self.forget(descriptor, gone)
                gone()


class _KqueuePresence:  # pragma: no cover  # macOS and the BSDs
    def __init__(self) -> None:
        self._watched: dict[int, Callable[[], None]] = {}
        self._kqueue = select.kqueue()  # type: ignore[attr-defined,unused-ignore]  # absent where the types are checked
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._kqueue.fileno(), self._ready)

    def watch(self, descriptor: int, gone: Callable[[], None]) -> None:
        self._watched[descriptor] = gone
        self._control(descriptor, select.KQ_EV_ADD | select.KQ_EV_CLEAR)  # type: ignore[attr-defined,unused-ignore]  # as above

    def forget(self, descriptor: int, gone: Callable[[], None]) -> None:
        if self._watched.get(descriptor) == gone:
            del self._watched[descriptor]
            with contextlib.suppress(OSError):
                self._control(descriptor, select.KQ_EV_DELETE)  # type: ignore[attr-defined,unused-ignore]  # as above

    def close(self) -> None:
        self._loop.remove_reader(self._kqueue.fileno())
        self._kqueue.close()

    def _control(self, descriptor: int, flags: int) -> None:
        event = select.kevent(descriptor, select.KQ_FILTER_READ, flags)  # type: ignore[attr-defined,unused-ignore]  # as above
        self._kqueue.control([event], 0)

    def _ready(self) -> None:
        for event in self._kqueue.control(None, max(1, len(self._watched)), 0):
            # EV_CLEAR: data that lies unread is reported once; the end of the stream is reported when it comes.
            if event.flags & select.KQ_EV_EOF:  # type: ignore[attr-defined,unused-ignore]  # as above
                gone = self._watched.get(event.ident)
                if gone is not None:
                    self.forget(event.ident, gone)
                    gone()


class _NoPresence:  # pragma: no cover  # Windows
    def watch(self, descriptor: int, gone: Callable[[], None]) -> None:
        pass

    def forget(self, descriptor: int, gone: Callable[[], None]) -> None:
        pass

    def close(self) -> None:
        pass
