"""A gateway as a process of its own: from the sockets to the drain at the end. The same for one process and for one of several workers.

The event loop is uvloop's where it is installed: it takes a quarter less CPU for each request and token.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from tornado.netutil import bind_sockets

from tornado_gateway import systemd
from tornado_gateway.app import Gateway
from tornado_gateway.config import ConfigError, Settings
from tornado_gateway.daemon import in_daemon
from tornado_gateway.errors import GatewayError
from tornado_gateway.hookspecs import StartupRefused
from tornado_gateway.listener import Bounds, Listener
from tornado_gateway.log import get_logger
from tornado_gateway.mainloop import run_to_end, settle_garbage
from tornado_gateway.signals import Signals, unless
from tornado_gateway.tls import tls_context
from tornado_gateway.worker import Handed, Worker

BACKLOG = 1024
_SPARE_DESCRIPTORS = 32
"""Kept for files, the event loop and the rest of the process."""
_FAREWELL_SECONDS = 0.25
"""How long idle connections stay at least: whoever asks `/readyz` over one hears that the end is near."""
_IDLE_SECONDS = 1.0
"""How long they stay at most, while other requests are at work."""
_GRACE_AFTER_DRAIN = 0.8
"""For last words and the plugins' shutdown, once all of `server.drain_seconds` is used up."""
_LOOK_SECONDS = 2.0
"""For the summary at the start: the server serves meanwhile."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """An Ollama, as it is found at the start."""

    url: str
    reachable: bool
    models: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """What there is to say once the server serves."""

    addresses: list[str]
    plugins: list[str]
    upstreams: list[UpstreamFacts] = field(default_factory=list)


def serve(
    settings: Settings,
    *,
    reload: Callable[[], Settings] | None = None,
    on_ready: Callable[[Ready], None] | None = None,
    announce: Callable[[str], None] | None = None,
    worker: Worker | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Blocks, and owns the process's signals meanwhile.

    `reload` gives the settings anew on SIGHUP, and raises `ConfigError` when they are invalid. Raises `StartupRefused` or `CannotListen`
    when the server cannot start. `worker` is who we are among several.
    """
    return run_to_end(_Server(settings, reload, on_ready, announce, worker).run)


class CannotListen(OSError):
    """The address is not there, not ours, or another program's."""


class _Server:
    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings] | None,
        on_ready: Callable[[Ready], None] | None,
        announce: Callable[[str], None] | None,
        worker: Worker | None,
    ) -> None:
        self._settings = settings
        self._reload = reload
        self._on_ready = on_ready
        self._announce = announce
        self._worker = worker

    async def run(self, signals: Signals) -> int:
        async with contextlib.AsyncExitStack() as stack:
            if self._worker is not None:
                await stack.enter_async_context(self._worker.attached(signals))
            tls = tls_context(self._settings, self._worker.handed.pair if self._worker else None)
            sockets = self._sockets()
            for bound in sockets:
                stack.callback(bound.close)
            gateway = await unless(signals.stop, stack.enter_async_context(self._gateway()))
            if gateway is None:
                signals.end_within(_GRACE_AFTER_DRAIN)  # the start may hang in a thread
                return 0
            listener = listener_for(gateway, self._settings, tls, share=self._worker.of if self._worker else 1)
            settle_garbage()
            for bound in sockets if self._worker else ():
                bound.listen(BACKLOG)
            listener.listen_at(sockets)
            reloading = asyncio.ensure_future(self._reload_when_told(gateway, listener, signals))
            await unless(signals.stop, self._say_ready(gateway, sockets, tls))
            await signals.stop.wait()
            reloading.cancel()
            await self._drain(gateway, listener, signals)
        return 0

    def _sockets(self) -> list[socket.socket]:
        if self._worker is not None:
            return self._worker.sockets
        return listen_at(self._settings.server.host, self._settings.server.port)

    def _gateway(self) -> Gateway:
        if self._worker is None:
            return Gateway(self._settings, announce=self._announce)
        return Gateway(self._settings, announce=self._worker.announce, shared=self._worker.shared, workers=self._worker.of)

    async def _reload_when_told(self, gateway: Gateway, listener: Listener, signals: Signals) -> None:
        """Signals that come while a reload is at work are one more reload: the file may have changed behind its back."""
        while self._reload is not None or self._worker is not None:
            await signals.hang_up.wait()
            signals.hang_up.clear()
            systemd.notify("RELOADING=1", monotonic=True)
            number, offered = self._worker.offered if self._worker else (None, None)
            taken = await self._reconfigure(gateway, listener, offered)
            if self._worker is not None:
                self._worker.tell_reloaded(number, gateway.plugins_behind if taken else None)
            systemd.notify("READY=1")

    async def _reconfigure(self, gateway: Gateway, listener: Listener, offered: Handed | None) -> bool:
        """Take what is offered, else what the file says. Invalid settings change nothing; running requests keep what they began with."""
        try:
            new = offered or Handed(await in_daemon(self._read))
            tls = await in_daemon(lambda: tls_context(new.settings, new.pair))
            needs_restart = await gateway.reconfigure(new.settings)
        except (ConfigError, OSError, StartupRefused) as error:
            _log.error("reload_refused", reason=str(error))
        except Exception as error:  # noqa: BLE001  # a reload must not take the server down
            _log.error("reload_failed", exc_info=error)
        else:
            if tls is not None:
                listener.use_certificate(tls)
            tell = _log.warning if needs_restart else _log.info
            tell("reloaded", needs_restart=needs_restart)
            return True
        return False

    def _read(self) -> Settings:
        return self._settings if self._reload is None else self._reload()

    async def _say_ready(self, gateway: Gateway, sockets: list[socket.socket], tls: ssl.SSLContext | None) -> None:
        addresses = [address_of(bound, tls is not None) for bound in sockets]
        if self._worker is not None:
            self._worker.tell_ready()
        else:
            _log.info("started", addresses=addresses, plugins=list(gateway.plugins))
            systemd.notify("READY=1")
        if self._on_ready is not None:
            upstream = await _look_at(gateway)
            # Whoever started it may read no more: a pipe is closed, a disk is full. That is no reason not to serve.
            with contextlib.suppress(OSError):
                self._on_ready(Ready(addresses, list(gateway.plugins), [upstream]))

    async def _drain(self, gateway: Gateway, listener: Listener, signals: Signals) -> None:
        """Nobody new; those at work may go on for a while; then they are told."""
        systemd.notify("STOPPING=1")
        if self._worker is not None:
            self._worker.tell_leaving()
        services, grace = gateway.services, gateway.settings.server.drain_seconds
        services.draining = True
        _log.info("stopping", at_work=len(services.at_work))
        listener.stop_listening()
        if not signals.at_once.is_set():
            signals.end_within(grace + _GRACE_AFTER_DRAIN)
        asyncio.get_running_loop().call_later(min(_IDLE_SECONDS, grace), listener.close_idle)
        farewell = asyncio.sleep(min(_FAREWELL_SECONDS, grace))
        await unless(signals.at_once, asyncio.gather(gateway.drain(grace), farewell))
        await gateway.drain(0)
        await listener.close_all_connections()
        gateway.ends_at = signals.ends_at


def listen_at(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen. Raises `CannotListen`."""
    try:
        return bind_sockets(port, host, backlog=BACKLOG)
    except OSError as error:
        raise CannotListen(*error.args) from error


def listener_for(gateway: Gateway, settings: Settings, tls: ssl.SSLContext | None, *, share: int = 1) -> Listener:
    """The listener of a gateway, with the bounds of its settings, or its share of them; it listens at nothing yet."""
    server = settings.server
    most = _connection_limit(-(-server.max_connections // share))
    per_address = server.max_connections_per_address
    bounds = Bounds(
        most=most,
        most_per_address=max(1, most // 2) if per_address is None else min(most, -(-per_address // share)),
        max_header_bytes=server.max_header_bytes,
        head_seconds=server.body_seconds,
        idle_seconds=server.keepalive_seconds,
    )
    return Listener(gateway.application(), gateway.services.presence, bounds, tls)


def _connection_limit(wanted: int) -> int:
    """As many as wanted, but each may need a descriptor of its own for its client and one for Ollama."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (descriptors - _SPARE_DESCRIPTORS) // 2))


def address_of(bound: socket.socket, tls: bool) -> str:
    """The address at which a socket listens, as clients type it."""
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if bound.family == socket.AF_INET6 else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"


async def _look_at(gateway: Gateway) -> UpstreamFacts:
    url = gateway.settings.upstream.url
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            models = await gateway.services.ollama.tags()
    except GatewayError as error:
        return UpstreamFacts(url, reachable=False, reason=error.message)
    except TimeoutError:
        return UpstreamFacts(url, reachable=False, reason="It does not answer.")
    return UpstreamFacts(url, reachable=True, models=tuple(model.name for model in models))
