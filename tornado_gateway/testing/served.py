"""A real gateway in a thread of its own, with any configuration, for tests with and without an event loop.

The one module here, beside the pytest plugin, that knows the gateway.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar

from tornado.netutil import bind_sockets

from tornado_gateway.app import Gateway
from tornado_gateway.config import Settings
from tornado_gateway.listener import Listener
from tornado_gateway.loading import load_settings
from tornado_gateway.server import listener_for
from tornado_gateway.testing.client import Client

T = TypeVar("T")
_LIMIT_SECONDS = 30.0


class GatewayThread(Client):
    """`with GatewayThread(ollama.url, plugins=[...]) as gateway:` serves at `gateway.url` until the block ends.

    `config` is a file; the other arguments are sections of one, and beat it: `plugins`, `server`, `upstream`, `models`, `limits`. Without
    either no plugin is on. Raises what the command would say: `ConfigError` for settings, `StartupRefused` for a plugin that will not start.
    """

    def __init__(
        self,
        upstream: str,
        *,
        plugins: Sequence[Any] | None = None,
        config: str | os.PathLike[str] | None = None,
        **sections: Mapping[str, Any],
    ) -> None:
        super().__init__("127.0.0.1", 0)
        self.announced: list[str] = []
        """What the plugins announced to whoever starts the server, such as a key made for the run."""
        self._settings = _settings(upstream, plugins, config, sections)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gateway", daemon=True)
        self._gateway = Gateway(self._settings, announce=self.announced.append)
        self._listener: Listener | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.run(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run(self._stop())
        finally:
            self._end()

    def plugin(self, name: str) -> Any:
        """The plugin of that name as the gateway built it. Touch it inside the loop, with `call` or `run`."""
        return self._gateway.services.hooks.plugin(name)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a plain function inside the gateway's loop and return what it gave."""

        async def called() -> T:
            return function(*arguments)

        return self.run(called())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine inside the gateway's loop and return what it gave."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LIMIT_SECONDS)

    def reconfigure(self, *, plugins: Sequence[Any] | None = None, **sections: Mapping[str, Any]) -> None:
        """New settings, as SIGHUP brings them; what is not named stays."""
        given = {"plugins": list(plugins)} if plugins is not None else {}
        values = {**self._settings.model_dump(), **sections, **given}
        self._settings = Settings.model_validate(values)
        self.run(self._gateway.reconfigure(self._settings))

    def hook_times(self) -> dict[str, dict[str, float]]:
        """What each hook has cost so far, by `plugin.hook`."""
        return self._gateway.services.hooks.times()

    async def _start(self) -> None:
        await self._gateway.__aenter__()
        sockets = bind_sockets(0, self.host, family=socket.AF_INET)
        self.port = sockets[0].getsockname()[1]
        self._listener = listener_for(self._gateway, self._settings, None)
        self._listener.listen_at(sockets)

    async def _stop(self) -> None:
        if self._listener is not None:
            self._listener.stop_listening()
            await self._gateway.drain(0)
            await self._listener.close_all_connections()
        await self._gateway.__aexit__()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LIMIT_SECONDS)
        self._loop.close()


def _settings(
    upstream: str,
    plugins: Sequence[Any] | None,
    config: str | os.PathLike[str] | None,
    sections: Mapping[str, Mapping[str, Any]],
) -> Settings:
    values: dict[str, Any] = load_settings(config).model_dump() if config is not None else {"plugins": []}
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    if plugins is not None:
        values["plugins"] = list(plugins)
    values["upstream"] = {**values.get("upstream", {}), "url": upstream}
    return Settings.model_validate(values)
