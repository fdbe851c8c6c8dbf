"""`FakeOllama`: the simulated Ollama as an object, for tests that run in an event loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Self

from tornado_gateway.testing.behaviour import NOTHING, Behaviour, Rule
from tornado_gateway.testing.connection import Connection
from tornado_gateway.testing.control import Control
from tornado_gateway.testing.house import House
from tornado_gateway.testing.ledger import Ledger
from tornado_gateway.testing.models import DEFAULT_MODELS, FakeModel
from tornado_gateway.testing.routes import Routes
from tornado_gateway.testing.runners import Runners


class FakeOllama:
    """A server on a real socket that answers as Ollama does, misbehaves as it is told, and keeps a ledger of what it saw.

    `async with FakeOllama() as ollama:` serves at `ollama.url` until the block ends. Port 0 takes a free one, which stays the
    same over `stop` and `start`. What it is told changes only what later requests get.
    """

    def __init__(
        self,
        models: Iterable[FakeModel] = DEFAULT_MODELS,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        defaults: Behaviour | None = None,
        num_parallel: int | None = None,
        max_queue: int = 512,
        keep_alive: float = 300.0,
        version: str = "0.33.0",
        context_length: int = 4096,
        cloud: bool = False,
        max_entries: int = 10_000,
        tls: ssl.SSLContext | None = None,
        control: bool = False,
    ) -> None:
        """`num_parallel`: slots of each model, None for no bound (Ollama's own default is 1). `max_queue`: how many may wait for
        a load. `keep_alive`: seconds that a model stays loaded. `context_length`: the window, unless `num_ctx` is sent.
        `cloud`: whether models of ollama.com are served. `max_entries`: the bound of the ledger.
        `control`: whether `/control/` takes commands, which is for the program."""
        self.host = host
        self.port = port
        self.ledger = Ledger(max_entries)
        runners = Runners(self.ledger, num_parallel, max_queue, keep_alive)
        self._house = House(
            self.ledger, runners, defaults=defaults or NOTHING, version=version, context_length=context_length, cloud=cloud
        )
        for model in models:
            self._house.add(model)
        self._routes = Routes(self._house)
        self._tls = tls
        self._control = Control(self).obey if control else None
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def start(self) -> None:
        """Listen; after a `stop` on the same port as before."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._routes.serve, self.ledger, self._connections, self._control),
            self.host, self.port, backlog=4096, reuse_address=True, ssl=self._tls,
        )  # fmt: skip
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, *, reset: bool = False) -> None:
        """Stop listening and end every connection: with FIN, or with RST as a machine that lost its power would later."""
        if self._server is None:
            return
        self._server.close()
        self.drop_connections(reset=reset)
        await self._server.wait_closed()
        self._server = None
        await self.ledger.wait_for(lambda _: not self._connections)
        self._house.runners.clear()

    def drop_connections(self, *, reset: bool = False) -> None:
        """End every connection that is open, whatever it is doing."""
        for connection in list(self._connections):
            connection.close(reset=reset, now=True)

    def send_unasked(self, data: bytes) -> None:
        """Write bytes to every open connection, as a broken server might on an idle one."""
        for connection in self._connections:
            connection.send(data)

    # What it is told.

    @property
    def defaults(self) -> Behaviour:
        """How every request to a model is answered where the script says nothing else."""
        return self._house.defaults

    @defaults.setter
    def defaults(self, behaviour: Behaviour) -> None:
        self._house.defaults = behaviour

    def next(self, *behaviours: Behaviour) -> None:
        """The next requests to a model get these, one each, in order."""
        for behaviour in behaviours:
            self.script(behaviour)

    def script(
        self,
        behaviour: Behaviour,
        *,
        path: str | None = None,
        model: str | None = None,
        text: str | None = None,
        times: int | None = 1,
    ) -> Rule:
        """Requests that match get this behaviour, `times` times (None: for ever). `path` may also name a list, such as
        `/api/tags`; without it the rule is for chat, generate and embed. `text` must occur in what was said last."""
        return self._house.script.add(Rule(behaviour, path, model, text, times))

    def unscript(self, rule: Rule | None = None) -> None:
        """Take back one rule, or all."""
        if rule is None:
            self._house.script.clear()
        else:
            self._house.script.remove(rule)

    # What it has.

    @property
    def models(self) -> tuple[FakeModel, ...]:
        return tuple(self._house.models.values())

    def add_model(self, model: FakeModel) -> None:
        """Add a model, or put it in the place of the one with the same name: with a new digest it counts as pulled again."""
        self._house.add(model)

    def remove_model(self, name: str) -> None:
        """Remove a model. Raises `KeyError` for one that is not there."""
        self._house.remove(name)

    def unload(self) -> None:
        """Unload every model, as after `keep_alive` has passed."""
        self._house.runners.clear()
