"""What a run needs: a simulated Ollama, a gateway with all plugins, and what can be read of both from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import psutil

from bench.processes import Program, free_port
from tornado_gateway.testing import Behaviour, OllamaProcess

KEYS = 10
TRACES = ("Traceback", "never awaited", "Uncaught exception", "never retrieved")


class World:
    """`with World(behaviour) as world:`; leaving it ends both processes. `server` are settings of the gateway's section."""

    def __init__(self, behaviour: Behaviour, *, workers: int = 1, **server: Any) -> None:
        self._behaviour = behaviour
        self._workers = workers
        self._server = server
        self.port = free_port()
        self.ollama_port = free_port()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tornado-gateway-soak-")))
        self.ollama = self._new_ollama()
        self._stack.callback(lambda: self.ollama.kill())
        config = self._folder / "config.yaml"
        config.write_text(json.dumps(self._settings()), "utf-8")
        config.chmod(0o600)
        command = [sys.executable, "-m", "tornado_gateway", "serve", "-c", str(config), "--workers", str(self._workers)]
        env = {"PYTHONPATH": os.pathsep.join(sys.path)}
        self.program = self._stack.enter_context(Program("gateway", command, self._folder / "gateway.out", env))
        self.process = psutil.Process(self.program._popen.pid)
        self._wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _settings(self) -> dict[str, Any]:
        keys = [{"name": f"tenant{number}", "key": f"soak-key-{number}"} for number in range(KEYS)]
        return {
            "server": {"port": self.port, "write_stall_seconds": 5, "body_seconds": 5, "keepalive_seconds": 5, **self._server},
            "upstream": {"url": f"http://127.0.0.1:{self.ollama_port}", "first_byte_seconds": 10, "idle_seconds": 5},
            "plugins": [
                {"logging": {"directory": str(self._folder / "logs"), "console": "off"}},
                {"auth": {"keys": keys}},
                {"rate_limit": {"requests_per_minute": 1_000_000, "max_concurrent": 1000}},
                {"cache": {"ttl_seconds": 3600}},
            ],
        }

    def _wait(self) -> None:
        import http.client

        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"the gateway does not serve: {self.program.last_words()}")

    def _new_ollama(self) -> OllamaProcess:
        ollama = OllamaProcess("--port", str(self.ollama_port)).__enter__()
        ollama.set_defaults(self._behaviour)
        return ollama

    # What happens to it.

    def kill_ollama(self) -> None:
        self.ollama.kill()

    def revive_ollama(self) -> None:
        self.ollama = self._new_ollama()

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def kill_a_worker(self) -> None:
        children = self.process.children()
        if children:
            children[0].kill()

    # What is read from outside.

    def memory_mb(self) -> float:
        return self.program.memory_bytes() / 1e6

    def descriptors(self) -> int:
        return sum(process.num_fds() for process in (self.process, *self.process.children(recursive=True)))

    def counters(self) -> dict[str, int]:
        """Of the ledger, once all that was left a moment ago has had five seconds to end."""
        with contextlib.suppress(TimeoutError):
            self.ollama.wait("in_flight", at_most=0, timeout=5)
        ledger = self.ollama.ledger()
        return {
            name: ledger[name]
            for name in ("connections_opened", "connections_closed", "open_connections", "requests_seen", "in_flight")
        }

    def traces(self) -> int:
        """How many tracebacks and lost coroutines stand in what was written."""
        files = [self._folder / "gateway.out", *(self._folder / "logs").glob("*")]
        texts = [file.read_text("utf-8", errors="replace") for file in files]
        return sum(text.count(word) for text in texts for word in TRACES)

    def settled_descriptors(self, base: int, limit: float = 15.0) -> int:
        """Back at the base, or what is left after `limit` seconds. Idle connections to Ollama and of clients end by themselves."""
        deadline = time.monotonic() + limit
        while (found := self.descriptors()) > base and time.monotonic() < deadline:
            time.sleep(0.2)
        return found
