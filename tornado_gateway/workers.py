"""Several processes that serve at one address, under a parent that serves nobody: it starts them, watches them, and keeps what they share.

Each worker has a listening socket of its own (`SO_REUSEPORT`), which the parent keeps open: connections that come while a worker is being
replaced wait for the one that follows (docs/decisions/0020-workers.md). A worker is dead when its end of the channel closes, and hung
when it does not beat. Workers are programs of their own, started anew: nothing is forked with an event loop in it.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tornado_gateway import systemd
from tornado_gateway.app import check_open_door, server_facts
from tornado_gateway.child import Child
from tornado_gateway.config import ConfigError, Settings
from tornado_gateway.daemon import in_daemon
from tornado_gateway.discovery import build_plugins, plugin_settings
from tornado_gateway.hooks import Hooks
from tornado_gateway.hookspecs import StartupRefused
from tornado_gateway.keepers import Keepers
from tornado_gateway.loading import Loaded
from tornado_gateway.log import get_logger
from tornado_gateway.mainloop import run_to_end
from tornado_gateway.server import address_of, listen_at
from tornado_gateway.signals import AT_ONCE_SECONDS, Signals, unless
from tornado_gateway.tls import tls_context
from tornado_gateway.worker import BEAT_SECONDS

HUNG_AFTER_BEATS = 7
"""Beats that a worker may miss: a plugin that blocks for five seconds is slow, not dead."""
BEATS_OF_A_START = 60
"""What the heart may miss before its first beat: Python reads its modules until then, perhaps on a machine that has much else to do."""
_AFTER_DRAIN_SECONDS = 0.9
_AGAIN_SECONDS = 0.5
"""Between two starts of a worker that does not live longer than this, or that cannot be started."""

_log = get_logger(__name__)


def serve_many(
    settings: Settings,
    *,
    text: str,
    workers: int,
    command: Sequence[str],
    reload: Callable[[], Loaded],
    announce: Callable[[str], None],
) -> int:
    """Serve with several workers until SIGTERM or SIGINT; the exit code.

    `command` starts a worker, which is handed `text`, the configuration that was found valid: the file may be broken when one is replaced.
    """
    return run_to_end(_Parent(settings, text, workers, command, reload, announce).run)


class _Parent:
    def __init__(
        self,
        settings: Settings,
        text: str,
        workers: int,
        command: Sequence[str],
        reload: Callable[[], Loaded],
        announce: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._host = settings.server.host
        self._text = text
        self._count = workers
        self._command = command
        self._reload = reload
        self._announce = announce
        self._announced: set[str] = set()
        self._lives = itertools.count()
        self._children: set[Child] = set()
        self._keepers = Keepers({})
        self._places: list[list[socket.socket]] = []
        self._served = [asyncio.Event() for _ in range(workers)]
        """For each place: whether a worker has been ready there."""

    async def run(self, signals: Signals) -> int:
        hooks = Hooks(build_plugins(self._settings))
        check_open_door(self._settings, hooks)
        tls_context(self._settings)
        self._places = listen(self._settings, self._count)
        self._keepers = Keepers(hooks.keepers())
        try:
            await unless(signals.stop, self._keepers.start(server_facts(self._settings, self._show, self._count)))
            return 0 if signals.stop.is_set() else await self._serve(signals)
        finally:
            self._close()
            await self._keepers.stop()

    async def _serve(self, signals: Signals) -> int:
        """The first worker starts alone: what hinders it would hinder all, and is said once."""
        first = self._start(0)
        await unless(signals.stop, _first_of(first.ready.wait(), asyncio.shield(first.ended)))
        if first.code is not None and not signals.stop.is_set():
            return max(1, first.code)
        tasks = [asyncio.ensure_future(self._keep(number, first if number == 0 else None)) for number in range(self._count)]
        tasks += [asyncio.ensure_future(work) for work in (self._watch(), self._reload_when_told(signals))]
        await unless(signals.stop, self._say_ready())
        await signals.stop.wait()
        for task in tasks[: self._count]:
            task.cancel()
        await self._stop(signals)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return 0

    def _start(self, number: int) -> Child:
        place = (number, self._count, self._host, self._places[number])
        child = Child(*place, self._command, self._text, next(self._lives), self._keepers, self._show)
        self._children.add(child)
        child.ended.add_done_callback(lambda _: self._children.discard(child))
        return child

    async def _keep(self, number: int, child: Child | None) -> None:
        """See to it that somebody serves at this place."""
        while True:
            child = child or await self._start_at_last(number)
            await _first_of(child.ready.wait(), child.out_of_service.wait())
            if child.ready.is_set():
                self._served[number].set()
            await child.out_of_service.wait()
            _log.warning("worker_left", worker=number, pid=child.pid)
            if time.monotonic() - child.began < _AGAIN_SECONDS:
                await asyncio.sleep(_AGAIN_SECONDS)
            child = None

    async def _start_at_last(self, number: int) -> Child:
        """Start a worker, however often it takes: a machine may be short of descriptors, processes or memory for a while."""
        while True:
            try:
                return self._start(number)
            except OSError as error:
                _log.error("worker_not_started", worker=number, reason=error.strerror or str(error))
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _watch(self) -> None:
        """End workers that hang. Ticks are counted, not seconds: when this process was stopped itself, nobody is to blame."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            for child in list(self._children):
                child.silent += 1
                patience = HUNG_AFTER_BEATS if child.heard else BEATS_OF_A_START
                if child.silent > patience:
                    _log.error("worker_hung", worker=child.number, pid=child.pid, seconds=patience * BEAT_SECONDS)
                    child.kill()

    async def _say_ready(self) -> None:
        for served in self._served:
            await served.wait()
        tls = self._settings.server.tls is not None
        _log.info("started", addresses=[address_of(bound, tls) for bound in self._places[0]], workers=self._count)
        systemd.notify("READY=1")

    async def _reload_when_told(self, signals: Signals) -> None:
        """The file is read here first: one that is not valid is refused once, and the workers do not hear of it."""
        while True:
            await signals.hang_up.wait()
            signals.hang_up.clear()
            systemd.notify("RELOADING=1", monotonic=True)
            try:
                loaded = await in_daemon(self._read)
            except (ConfigError, OSError, StartupRefused) as error:
                _log.error("reload_refused", reason=str(error))
            except Exception as error:  # noqa: BLE001  # a reload must not take the server down
                _log.error("reload_failed", exc_info=error)
            else:
                self._settings, self._text = loaded.settings, loaded.text
                await self._keepers.reconfigure(dict(plugin_settings(self._settings)))
                for child in self._children:
                    child.signal(signal.SIGHUP)
            systemd.notify("READY=1")

    def _read(self) -> Loaded:
        loaded = self._reload()
        tls_context(loaded.settings)
        return loaded

    async def _stop(self, signals: Signals) -> None:
        """All workers drain at the same time; what they do not end in their time is ended here."""
        systemd.notify("STOPPING=1")
        _log.info("stopping", workers=self._count)
        self._close()
        for child in list(self._children):
            child.stop()
        grace = self._settings.server.drain_seconds
        await unless(signals.at_once, self._all_ended(grace + _AFTER_DRAIN_SECONDS))
        if self._children:
            for child in list(self._children):
                child.stop(at_once=True)
            await self._all_ended(AT_ONCE_SECONDS / 2 if signals.at_once.is_set() else 0)
        for child in list(self._children):
            child.kill()
        await self._all_ended(None)

    async def _all_ended(self, seconds: float | None) -> None:
        if self._children:
            await asyncio.wait([child.ended for child in self._children], timeout=seconds)

    def _close(self) -> None:
        """While a listening socket is open here, connections to it are accepted by the kernel."""
        for bound in itertools.chain.from_iterable(self._places):
            bound.close()

    def _show(self, line: str) -> None:
        if line not in self._announced:
            self._announced.add(line)
            self._announce(line)


def listen(settings: Settings, places: int) -> list[list[socket.socket]]:
    """Listening sockets for each place, all at one address. Raises `CannotListen` when another program listens there, also one of ours."""
    server = settings.server
    alone = listen_at(server.host, server.port)
    if sys.platform != "linux":
        return [alone] * places  # elsewhere the last one that binds would get all connections: one queue for all
    port = alone[0].getsockname()[1]
    for bound in alone:
        bound.close()
    return [listen_at(server.host, port, shared=True) for _ in range(places)]


async def _first_of(*works: Awaitable[Any]) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
