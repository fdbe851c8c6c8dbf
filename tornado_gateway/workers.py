"""Several processes that serve at one address, under a parent that serves nobody: it starts them, watches them, and keeps what they share.

Each worker has a listening socket of its own (`SO_REUSEPORT`), which the parent keeps open: connections that come while a worker is being
replaced wait for the one that follows, unless none does (`places.py`, docs/decisions/0020-workers.md). A worker is dead when its end of
the channel closes, and hung when it does not beat. Workers are programs of their own, started anew: nothing is forked with an event loop
in it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from tornado_gateway import systemd
from tornado_gateway.app import check_open_door, server_facts
from tornado_gateway.child import Child, Reload
from tornado_gateway.config import ConfigError, Settings
from tornado_gateway.daemon import in_daemon
from tornado_gateway.discovery import build_plugins, plugin_settings
from tornado_gateway.hooks import Hooks
from tornado_gateway.hookspecs import StartupRefused
from tornado_gateway.keepers import Keepers
from tornado_gateway.log import get_logger
from tornado_gateway.mainloop import run_to_end
from tornado_gateway.places import Place, Places
from tornado_gateway.restart import in_force
from tornado_gateway.server import address_of
from tornado_gateway.signals import AT_ONCE_SECONDS, Signals, unless
from tornado_gateway.tls import Pair, read_pair, tls_context
from tornado_gateway.worker import BEAT_SECONDS, Handed

HUNG_AFTER_BEATS = 7
"""Beats that a worker may miss: a plugin that blocks for five seconds is slow, not dead."""
BEATS_OF_A_START = 60
"""What the heart may miss before its first beat: Python reads its modules until then, perhaps on a machine that has much else to do."""
_AFTER_DRAIN_SECONDS = 0.9
_AGAIN_SECONDS = 0.5
"""Between two starts of a worker that does not live longer than this. Of one that cannot be started: at first, then twice as long each time."""
_AGAIN_AT_MOST_SECONDS = 5.0
_RELOAD_SECONDS = 30.0
"""For the workers to say what came of a reload; the next one waits for it."""
_PATIENCE_SECONDS = 10.0
"""For a worker to be ready that follows another: what connects meanwhile waits for it."""

_log = get_logger(__name__)


def serve_many(
    settings: Settings,
    *,
    workers: int,
    command: Sequence[str],
    reload: Callable[[], Settings],
    announce: Callable[[str], None],
) -> int:
    """Serve with several workers until SIGTERM or SIGINT; the exit code.

    `command` starts a worker, which is handed the settings and the certificate that are in force: the files may be broken when one is
    replaced, or say what would count after a restart only.
    """
    return run_to_end(_Parent(settings, workers, command, reload, announce).run)


class _Parent:
    def __init__(
        self,
        settings: Settings,
        workers: int,
        command: Sequence[str],
        reload: Callable[[], Settings],
        announce: Callable[[str], None],
    ) -> None:
        self._handed = Handed(settings)
        self._count = workers
        self._command = command
        self._reload = reload
        self._announce = announce
        self._announced: set[str] = set()
        self._lives = itertools.count()
        self._reloads = itertools.count()
        self._children: set[Child] = set()
        self._hooks = Hooks([])
        self._keepers = Keepers({})
        self._places: Places

    @property
    def _settings(self) -> Settings:
        return self._handed.settings

    async def run(self, signals: Signals) -> int:
        self._hooks = Hooks(build_plugins(self._settings))
        check_open_door(self._settings, self._hooks)
        self._handed = Handed(self._settings, _checked_pair(self._settings))
        self._places = Places(self._settings.server.host, self._settings.server.port, self._count)
        self._keepers = Keepers(self._hooks.keepers())
        try:
            await unless(signals.stop, self._keepers.start(server_facts(self._settings, self._show, self._count)))
            return 0 if signals.stop.is_set() else await self._serve(signals)
        finally:
            self._places.close()
            await self._keepers.stop()

    async def _serve(self, signals: Signals) -> int:
        """The first worker starts alone: what hinders it would hinder all, and is said once."""
        first = self._start(self._places[0])
        await unless(signals.stop, _first_of(first.ready.wait(), asyncio.shield(first.ended)))
        if signals.stop.is_set():
            await self._stop(signals)
            return 0
        if first.code is not None:
            return max(1, first.code)
        tasks = [asyncio.ensure_future(self._keep(place, None if place.number else first)) for place in self._places]
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

    def _start(self, place: Place) -> Child:
        """Raises `OSError`."""
        place.open()
        where = (place.number, self._count, place.sockets)
        child = Child(*where, self._command, self._handed, next(self._lives), self._keepers, self._show)
        self._children.add(child)
        child.ended.add_done_callback(lambda _: self._children.discard(child))
        return child

    async def _keep(self, place: Place, child: Child | None) -> None:
        """See to it that somebody serves at this place."""
        failures = Failures()
        while True:
            reason = await self._one_life(place, child)
            child = None
            if reason is None:
                failures = Failures()
                continue
            place.vacate()
            if failures.worth_a_line(reason):
                _log.error("worker_not_started", worker=place.number, reason=reason, times=failures.times)
            await asyncio.sleep(failures.pause)

    async def _one_life(self, place: Place, child: Child | None) -> str | None:
        """From the start of a worker to its end; why it never served, if so."""
        try:
            child = child or self._start(place)
        except OSError as error:  # a machine may be short of descriptors, processes or memory for a while
            return error.strerror or str(error)
        await self._begun(place, child)
        if not child.ready.is_set():
            await asyncio.shield(child.ended)
            return child.reason or said_of(child.code)
        place.serve()
        await child.out_of_service.wait()
        _log.warning("worker_left", worker=place.number, pid=child.pid)
        if time.monotonic() - child.began < _AGAIN_SECONDS:
            await asyncio.sleep(_AGAIN_SECONDS)
        return None

    async def _begun(self, place: Place, child: Child) -> None:
        """It serves, or has ended. While clients wait for it, it may not take for ever."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS if place.listens else None):
                await _first_of(child.ready.wait(), child.out_of_service.wait())
        except TimeoutError:
            child.reason = f"not ready after {_PATIENCE_SECONDS:g} s, while connections waited"
            child.kill()

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
        tls = self._settings.server.tls is not None
        addresses = [address_of(bound, tls) for bound in self._places[0].sockets]
        for place in self._places:
            await place.served.wait()
        _log.info("started", addresses=addresses, workers=self._count)
        systemd.notify("READY=1")

    async def _reload_when_told(self, signals: Signals) -> None:
        """The file is read here first: one that is not valid is refused once, and the workers do not hear of it."""
        while True:
            await signals.hang_up.wait()
            signals.hang_up.clear()
            systemd.notify("RELOADING=1", monotonic=True)
            try:
                await self._take(await in_daemon(self._reload))
            except (ConfigError, OSError, StartupRefused) as error:
                _log.error("reload_refused", reason=str(error))
            except Exception as error:  # noqa: BLE001  # a reload must not take the server down
                _log.error("reload_failed", exc_info=error)
            if not signals.stop.is_set():
                systemd.notify("READY=1")

    def _pair(self, settings: Settings) -> Pair | None:
        """The certificate that the settings name; where they name none, what is shown until the restart."""
        return self._handed.pair if settings.server.tls is None else _checked_pair(settings)

    async def _take(self, settings: Settings) -> None:
        """Have all workers reload, and go by what they say: what a plugin refuses is not what later workers must start with.

        Raises `ConfigError` or `StartupRefused`, and changes nothing, where no server could be started with these settings.
        """
        plugins, pair = plugin_settings(settings), await in_daemon(lambda: self._pair(settings))
        check_open_door(in_force(self._settings, settings), self._hooks)
        offer, told = (next(self._reloads), Handed(settings, pair).packed()), list(self._children)
        served = any(child.serves for child in told)
        reports = await _reported([child.reload(*offer) for child in told])
        taken = [behind for behind in reports if behind is not None]
        # Where nobody served, nobody could refuse: perhaps it is these settings with which a worker can be started.
        if not taken and (reports or served):
            return
        kept = {plugin for behind in taken for plugin in behind}
        self._handed = Handed(in_force(self._settings, settings, kept), pair)
        await self._keepers.reconfigure({plugin: own for plugin, own in plugins.items() if plugin not in kept})
        for child in self._children.difference(told):  # started meanwhile, with the settings from before
            child.reload(*offer).add_done_callback(partial(self._replace_if_refused, child))
        for child in told:
            self._replace_if_refused(child)

    def _replace_if_refused(self, child: Child, _: object = None) -> None:
        """The others took it: a key that is revoked there must not go on here."""
        if child.refused:
            _log.error("worker_left_behind", worker=child.number, pid=child.pid)
            child.stop()

    async def _stop(self, signals: Signals) -> None:
        """All workers drain at the same time; what they do not end in their time is ended here."""
        systemd.notify("STOPPING=1")
        _log.info("stopping", workers=self._count)
        self._places.close()
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

    def _show(self, line: str) -> None:
        if line not in self._announced:
            self._announced.add(line)
            self._announce(line)


async def _reported(reloads: Sequence[Reload]) -> list[list[str] | None]:
    """What the workers say of a reload, as far as they live to say it and do not take too long."""
    if not reloads:
        return []
    done, _ = await asyncio.wait(reloads, timeout=_RELOAD_SECONDS)
    return [reload.result() for reload in done if not reload.cancelled()]


def _checked_pair(settings: Settings) -> Pair | None:
    """What workers show as their certificate. Raises `StartupRefused`."""
    pair = read_pair(settings)
    tls_context(settings, pair)
    return pair


class Failures:
    """Starts in a row of which no worker came."""

    def __init__(self) -> None:
        self.times = 0
        self._reason: str | None = None

    def worth_a_line(self, reason: str) -> bool:
        """Count one. A reason is told when it is new, and at the second, fourth, eighth time and so on."""
        self.times += 1
        new, self._reason = reason != self._reason, reason
        return new or self.times.bit_count() == 1

    @property
    def pause(self) -> float:
        """Seconds until the next start."""
        return min(_AGAIN_SECONDS * (1 << min(self.times - 1, 10)), _AGAIN_AT_MOST_SECONDS)


def said_of(code: int | None) -> str:
    """The end of a process that gave no reason itself."""
    if code is not None and code < 0:
        return f"ended by signal {-code}"
    return f"ended with exit code {code}; standard error may tell more"


async def _first_of(*works: Awaitable[Any]) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
