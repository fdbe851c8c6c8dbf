"""The simulated Ollama in a thread of its own, for tests without an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from tornado_gateway.testing.behaviour import Behaviour, Rule
from tornado_gateway.testing.fake import FakeOllama
from tornado_gateway.testing.ledger import Ledger

T = TypeVar("T")
_LIMIT_SECONDS = 30.0


class OllamaThread:
    """`with OllamaThread() as ollama:` takes what `FakeOllama` takes. The ledger is safe to read between requests;
    what must be exact is read inside the loop with `call`."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated-ollama", daemon=True)
        self.fake = FakeOllama(**settings)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self.fake.start())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self.fake.stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_LIMIT_SECONDS)
            self._loop.close()

    @property
    def url(self) -> str:
        return self.fake.url

    @property
    def port(self) -> int:
        return self.fake.port

    @property
    def ledger(self) -> Ledger:
        return self.fake.ledger

    def start(self) -> None:
        self._run(self.fake.start())

    def stop(self, *, reset: bool = False) -> None:
        self._run(self.fake.stop(reset=reset))

    def call(self, function: Callable[[FakeOllama], T]) -> T:
        """Run `function(fake)` inside the loop and return what it gave."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                future.set_result(function(self.fake))
            except BaseException as error:  # noqa: BLE001  # it is raised where it was asked for
                future.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return future.result(_LIMIT_SECONDS)

    def next(self, *behaviours: Behaviour) -> None:
        self.call(lambda fake: fake.next(*behaviours))

    def script(self, behaviour: Behaviour, **matching: Any) -> Rule:
        return self.call(lambda fake: fake.script(behaviour, **matching))

    def wait_for(self, predicate: Callable[[Ledger], Any], timeout: float = 5.0) -> Any:
        """As `Ledger.wait_for`. Raises `TimeoutError`."""
        return self._run(self.fake.ledger.wait_for(predicate, timeout), timeout + 5.0)

    def _run(self, work: Coroutine[Any, Any, T], limit: float = _LIMIT_SECONDS) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(limit)
