"""One gateway: settings and plugins in, parts put together, routes out. Lives in its own server or in somebody else's Tornado process."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import secrets
import sys
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Self

from tornado.httputil import HTTPServerRequest
from tornado.routing import URLSpec
from tornado.web import Application

from tornado_gateway.config import Settings
from tornado_gateway.discovery import build_plugins, plugin_settings
from tornado_gateway.exchange import Exchange, Rules
from tornado_gateway.handlers.base import Access, GatewayHandler
from tornado_gateway.handlers.delegate import HandlerDelegate
from tornado_gateway.handlers.gate import is_loopback, own_names
from tornado_gateway.handlers.models import ModelHandler, ModelsHandler
from tornado_gateway.handlers.openai import GenerationHandler
from tornado_gateway.handlers.plugins import plugin_routes
from tornado_gateway.handlers.probes import HealthHandler, NotFoundHandler, ReadyHandler, RootHandler
from tornado_gateway.handlers.services import FaceRules, Services
from tornado_gateway.hooks import Hooks
from tornado_gateway.hookspecs import ServerFacts, Shared, StartupRefused
from tornado_gateway.lag import LoopLag
from tornado_gateway.models import Catalog
from tornado_gateway.names import normal
from tornado_gateway.presence import watcher
from tornado_gateway.restart import in_force, needs_restart
from tornado_gateway.upstream import Ollama, UpstreamOptions
from tornado_gateway.wire import openai_chat, openai_completions, openai_embeddings
from tornado_gateway.wire.dialect import Limits, Policy


class Gateway:
    """`async with Gateway(settings) as gateway` starts the plugins and the connection to Ollama, and stops them.

    Several gateways may live in one process: they share nothing. `announce` shows a line to the person who started it; without it such
    lines go to standard error. `shared` gives a plugin, by name, what it shares with other workers of the same server.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        announce: Callable[[str], None] | None = None,
        shared: Callable[[str], Shared] | None = None,
        workers: int = 1,
    ) -> None:
        self.settings = settings
        """What is in force."""
        self.plugins_behind: tuple[str, ...] = ()
        """Plugins that go on with the settings from before the last `reconfigure`: they refused the new ones, or cannot change them."""
        self._announce = announce or _to_standard_error
        self._shared = shared
        self._workers = workers
        self._services: Services | None = None
        self._running = contextlib.AsyncExitStack()
        self._last_words_until: float | None = None
        self.ends_at: float | None = None
        """When the process ends whatever the plugins do, by `time.monotonic`; they share what is left. None: it does not."""

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as started:
            await self._start(started)
            self._running = started.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()
        self._services = None

    async def _start(self, started: contextlib.AsyncExitStack) -> None:
        settings = self.settings
        hooks = Hooks(build_plugins(settings))
        check_open_door(settings, hooks)
        ollama = await started.enter_async_context(Ollama(_upstream_options(settings)))
        catalog = Catalog(ollama, settings.models.aliases, time.monotonic)
        started.push_async_callback(catalog.close)
        presence = watcher()
        started.callback(presence.close)
        exchange = Exchange(hooks, catalog, ollama, _exchange_rules(settings), _new_id)
        lag = LoopLag()
        services = Services(exchange, hooks, catalog, ollama, presence, _face_rules(settings), _new_id, lag)
        started.push_async_callback(lambda: hooks.shutdown(self.ends_at))
        await hooks.startup(server_facts(settings, self._announce, self._workers), self._shared)
        started.push_async_callback(self.drain, 0)  # end what still runs, before the plugins are shut down
        lag.start()
        started.callback(lag.close)
        self._services = services

    def routes(self, prefix: str = "") -> list[URLSpec]:
        """The gateway's addresses below `prefix`, to be mounted in an application."""
        services = self.services
        routes = _routes() + plugin_routes(services.hooks.routes(), prefix)
        return [URLSpec(f"{prefix}{path}$", handler, {"services": services, **more}) for path, handler, more in routes]

    def application(self) -> Application:
        """A Tornado application that is this gateway and nothing else: every other address is its 404."""
        return _GatewayApplication(
            self.routes(),
            default_handler_class=NotFoundHandler,
            default_handler_args={"services": self.services},
            log_function=_no_access_log,
        )

    @property
    def services(self) -> Services:
        if self._services is None:
            raise RuntimeError("the gateway is not started: use `async with Gateway(settings) as gateway`")
        return self._services

    @property
    def plugins(self) -> tuple[str, ...]:
        """The names of the plugins that are on, in the order in which they are called."""
        return self.services.hooks.plugins

    async def reconfigure(self, settings: Settings) -> list[str]:
        """Take new settings for requests that come from now on; the answer names what needs a restart to change.

        Raises `ConfigError` or `StartupRefused`, and changes nothing, where a gateway with these settings could not be started.
        """
        services, wanted = self.services, plugin_settings(settings)
        running = in_force(self.settings, settings)
        check_open_door(running, services.hooks)
        services.exchange.rules = _exchange_rules(running)
        services.rules = _face_rules(running)
        services.catalog.use_aliases(running.models.aliases)
        self.plugins_behind = await services.hooks.reconfigure(dict(wanted))
        missing = needs_restart(self.settings, settings)
        self.settings = in_force(self.settings, settings, self.plugins_behind)
        return missing

    async def drain(self, seconds: float) -> None:
        """Wait until no request is at work, for `seconds` at most; what still runs then is ended with an honest error.

        Called again, it does not wait again for those that did not end when they were told to.
        """
        services = self.services if self._services else None
        if services is None or not services.at_work:
            self._last_words_until = None
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await services.idle.wait()
        for request in list(services.at_work):
            request.stop()
        loop = asyncio.get_running_loop()
        self._last_words_until = self._last_words_until or loop.time() + _ENDING_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._last_words_until):
                while services.at_work:
                    await services.idle.wait()
                self._last_words_until = None  # whoever is told to stop another time has the time anew


class _GatewayApplication(Application):
    """Finds a route that is a plain path by that path; Tornado tries the pattern of one route after another."""

    def __init__(self, routes: list[URLSpec], **settings: Any) -> None:
        super().__init__(routes, **settings)
        self._plain = {route.regex.pattern[:-1]: route for route in routes if _PLAIN_PATH.fullmatch(route.regex.pattern)}

    def find_handler(
        self, request: HTTPServerRequest, **kwargs: Any
    ) -> Any:  # Tornado names a class of its own that is not public
        route = self._plain.get(request.path)
        if route is None:
            return super().find_handler(request, **kwargs)
        return self.get_handler_delegate(request, route.handler_class, route.kwargs)

    def get_handler_delegate(
        self,
        request: HTTPServerRequest,
        target_class: type[Any],
        target_kwargs: dict[str, Any] | None = None,
        *_: Any,
        **__: Any,
    ) -> Any:  # as above
        return HandlerDelegate(self, request, target_class, target_kwargs or {})


_PLAIN_PATH = re.compile(r"[/\w]*\$")
_chance = random.Random(secrets.randbits(256))  # noqa: S311  # ids are to be distinct, not secret: no system call for each
_ENDING_SECONDS = 0.6
"""For requests that were told to stop to say so to their clients: the process is to end within a second."""


def _routes() -> list[tuple[str, type[GatewayHandler], dict[str, Any]]]:
    """Path, handler and what the handler needs; the only addresses there are."""
    chat, completions, embeddings = openai_chat.DIALECT, openai_completions.DIALECT, openai_embeddings.DIALECT
    routes: list[tuple[str, type[GatewayHandler], dict[str, Any]]] = [
        ("/v1/chat/completions", GenerationHandler, {"dialect": chat}),
        ("/api/chat/completions", GenerationHandler, {"dialect": chat}),
        ("/v1/completions", GenerationHandler, {"dialect": completions}),
        ("/v1/embeddings", GenerationHandler, {"dialect": embeddings}),
        ("/v1/models", ModelsHandler, {}),
        ("/v1/models/.+", ModelHandler, {}),
        ("/healthz", HealthHandler, {}),
        ("/readyz", ReadyHandler, {}),
        ("/", RootHandler, {}),
    ]
    for path, handler, _ in routes:
        if not isinstance(getattr(handler, "access", None), Access):
            raise TypeError(f"the route {path} does not say who may use it")
    return routes


def server_facts(settings: Settings, announce: Callable[[str], None], workers: int) -> ServerFacts:
    """What plugins are told of the server."""
    server = settings.server
    return ServerFacts(server.host, server.port, is_loopback(server.host), announce, workers)


def check_open_door(settings: Settings, hooks: Hooks) -> None:
    """Raises `StartupRefused` when anybody could use a server that other machines can reach."""
    if not hooks.authenticates and not is_loopback(settings.server.host) and not settings.server.allow_anonymous:
        raise StartupRefused(
            f"server.host is {settings.server.host} and no plugin authenticates: anybody who reaches this machine could use it. "
            "Switch `auth` on, listen at 127.0.0.1, or set server.allow_anonymous: true."
        )


def _upstream_options(settings: Settings) -> UpstreamOptions:
    upstream = settings.upstream
    return UpstreamOptions(
        url=upstream.url,
        headers={name: value.get_secret_value() for name, value in upstream.headers.items()},
        connect_seconds=upstream.connect_seconds,
        first_byte_seconds=upstream.first_byte_seconds,
        whole_seconds=upstream.seconds_until_whole,
        idle_seconds=upstream.idle_seconds,
        total_seconds=upstream.total_seconds,
    )


def _exchange_rules(settings: Settings) -> Rules:
    policies = {
        normal(name): Policy(MappingProxyType(dict(given.options)), given.keep_alive, given.think, frozenset(given.allow))
        for name, given in settings.models.defaults.items()
    }
    return Rules(
        limits=Limits(**settings.limits.model_dump()),
        policies=policies,
        headers_after_seconds=settings.server.headers_after_seconds,
        heartbeat_seconds=settings.server.heartbeat_seconds,
    )


def _face_rules(settings: Settings) -> FaceRules:
    server = settings.server
    return FaceRules(
        max_body_bytes=server.max_body_bytes,
        write_stall_seconds=server.write_stall_seconds,
        hosts=own_names(server.host, server.allowed_hosts) if is_loopback(server.host) else None,
        cors_origins=frozenset(server.cors_origins),
        upstream_failure_status=server.upstream_failure_status,
    )


def _new_id() -> str:
    return f"{_chance.getrandbits(128):032x}"


def _no_access_log(_: object) -> None:
    """The logging plugin writes the line of a request."""


def _to_standard_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  # where an embedding program shows such lines
