"""A gateway as a process of its own: sockets, signals, the drain at the end.

The event loop is uvloop's where it is installed: it takes a quarter less CPU for each request and token.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from tornado.netutil import bind_sockets

from tornado_gateway import systemd
from tornado_gateway.app import Gateway
from tornado_gateway.config import ConfigError, Settings
from tornado_gateway.errors import GatewayError
from tornado_gateway.handlers.clientstream import READ_AT_MOST_BYTES
from tornado_gateway.hookspecs import StartupRefused
from tornado_gateway.listener import Listener
from tornado_gateway.log import get_logger

_BACKLOG = 1024
_SPARE_DESCRIPTORS = 32
"""Kept for files, the event loop and the rest of the process."""

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
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Blocks, and owns the process's signals meanwhile.

    `reload` gives the settings anew on SIGHUP, and raises `ConfigError` when they are invalid. Raises `StartupRefused` or `OSError`
    when the server cannot start.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_Server(settings, reload, on_ready, announce).run())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


class _Server:
    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings] | None,
        on_ready: Callable[[Ready], None] | None,
        announce: Callable[[str], None] | None,
    ) -> None:
        self._settings = settings
        self._reload = reload
        self._on_ready = on_ready
        self._announce = announce
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._reloading: asyncio.Task[None] | None = None

    async def run(self) -> int:
        server = self._settings.server
        tls = _tls_context(self._settings)
        sockets = bind_sockets(server.port, server.host, backlog=_BACKLOG)
        try:
            async with Gateway(self._settings, announce=self._announce) as gateway:
                listener = listener_for(gateway, self._settings, tls)
                self._take_signals(gateway, tls)
                listener.listen_at(sockets)
                await self._say_ready(gateway, sockets, tls)
                await self._stopping.wait()
                await self._drain(gateway, listener)
        finally:
            for bound in sockets:
                bound.close()
        return 0

    def _take_signals(self, gateway: Gateway, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up, gateway, tls)

    def _stop(self) -> None:
        """The first signal drains, the second does not wait."""
        if self._stopping.is_set():
            self._at_once.set()
        self._stopping.set()

    def _hang_up(self, gateway: Gateway, tls: ssl.SSLContext | None) -> None:
        if self._reload is not None and (self._reloading is None or self._reloading.done()):
            self._reloading = asyncio.get_running_loop().create_task(self._reconfigure(gateway, self._reload, tls))

    async def _reconfigure(self, gateway: Gateway, reload: Callable[[], Settings], tls: ssl.SSLContext | None) -> None:
        """Invalid settings change nothing; running requests keep what they began with."""
        systemd.notify("RELOADING=1", monotonic=True)
        try:
            settings = await asyncio.to_thread(reload)
            if tls is not None and settings.server.tls is not None:
                tls.load_cert_chain(settings.server.tls.certificate, settings.server.tls.key)
            needs_restart = await gateway.reconfigure(settings)
        except (ConfigError, OSError, StartupRefused) as error:
            _log.error("reload_refused", reason=str(error))
        except Exception as error:  # noqa: BLE001  # a reload must not take the server down
            _log.error("reload_failed", exc_info=error)
        else:
            self._settings = settings
            _log.info("reloaded", needs_restart=needs_restart)
        finally:
            systemd.notify("READY=1")

    async def _say_ready(self, gateway: Gateway, sockets: list[socket.socket], tls: ssl.SSLContext | None) -> None:
        addresses = [_address(bound, tls) for bound in sockets]
        _log.info("started", addresses=addresses, plugins=list(gateway.plugins))
        systemd.notify("READY=1")
        if self._on_ready is not None:
            upstream = await _look_at(gateway)
            self._on_ready(Ready(addresses, list(gateway.plugins), [upstream]))

    async def _drain(self, gateway: Gateway, listener: Listener) -> None:
        """Nobody new; those at work may go on for a while; then they are told."""
        systemd.notify("STOPPING=1")
        services = gateway.services
        services.draining = True
        _log.info("stopping", at_work=len(services.at_work))
        listener.stop_listening()
        listener.close_idle(services.streams_at_work())
        drain = asyncio.ensure_future(gateway.drain(self._settings.server.drain_seconds))
        at_once = asyncio.ensure_future(self._at_once.wait())
        await asyncio.wait({drain, at_once}, return_when=asyncio.FIRST_COMPLETED)
        if not drain.done():
            drain.cancel()
            await gateway.drain(0)
        at_once.cancel()
        await asyncio.gather(drain, at_once, return_exceptions=True)
        await listener.close_all_connections()


def listener_for(gateway: Gateway, settings: Settings, tls: ssl.SSLContext | None) -> Listener:
    """The listener of a gateway, with the bounds of its settings; it listens at nothing yet."""
    server = settings.server
    most = _connection_limit(server.max_connections)
    return Listener(
        gateway.application(),
        most=most,
        most_per_address=min(most, server.max_connections_per_address or max(1, most // 2)),
        head_seconds=server.body_seconds,
        idle_seconds=server.keepalive_seconds,
        tls=tls,
        protocol="http" if tls is None else "https",
        xheaders=False,
        chunk_size=64 * 1024,
        max_header_size=READ_AT_MOST_BYTES,
        # Larger bodies are refused by the handlers, in words; this is what may come in all before the connection is cut.
        max_body_size=1 << 40,
        max_buffer_size=1 << 20,
    )


def _connection_limit(wanted: int) -> int:
    """As many as wanted, but each may need a descriptor of its own for its client and one for Ollama."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (descriptors - _SPARE_DESCRIPTORS) // 2))


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    given = settings.server.tls
    if given is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(given.certificate, given.key)
    except (OSError, ssl.SSLError) as error:
        raise StartupRefused(f"server.tls: the certificate or its key cannot be read: {error}") from error
    return context


def _address(bound: socket.socket, tls: ssl.SSLContext | None) -> str:
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if bound.family == socket.AF_INET6 else host
    return f"{'http' if tls is None else 'https'}://{shown}:{port}"


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


_LOOK_SECONDS = 2.0
"""For the summary at the start: the server serves meanwhile."""
