"""The simulated Ollama as a process of its own: for benchmarks, for killing it, for clocks that another process shares."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from typing import Any, Self
from urllib.parse import quote, urlsplit

from tornado_gateway.testing.behaviour import Behaviour
from tornado_gateway.testing.control import write_behaviour

_LIMIT_SECONDS = 30.0


class OllamaProcess:
    """`with OllamaProcess("--tokens", "100") as ollama:` starts `python -m tornado_gateway.testing` with these arguments.

    A free port is taken unless `--port` is among them. Commands go over its control endpoint.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments if "--port" in arguments else (*arguments, "--port", "0")
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tornado_gateway.testing", *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own program
        assert self._process.stdout is not None  # noqa: S101  # narrows the type
        line = self._process.stdout.readline()
        if "http" not in line:
            self.__exit__()
            raise RuntimeError("The simulated Ollama did not start.")
        self.url = line.split()[-1]
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(_LIMIT_SECONDS)
        if process.stdout is not None:
            process.stdout.close()

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def pid(self) -> int:
        """Raises `RuntimeError` when it is not running."""
        if self._process is None:
            raise RuntimeError("The simulated Ollama is not running.")
        return self._process.pid

    def kill(self) -> None:
        """As a crash or the memory killer would: at once, whatever it is doing."""
        self.__exit__()

    def pause(self) -> None:
        """Freeze it: connections are accepted by the system, and nobody answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def next(self, *behaviours: Behaviour) -> None:
        self.control("POST", "next", [write_behaviour(behaviour) for behaviour in behaviours])

    def script(self, behaviour: Behaviour, **matching: Any) -> None:
        self.control("POST", "script", {"behaviour": write_behaviour(behaviour), **matching})

    def unscript(self) -> None:
        self.control("DELETE", "script")

    def set_defaults(self, behaviour: Behaviour) -> None:
        self.control("PUT", "defaults", write_behaviour(behaviour))

    def ledger(self) -> dict[str, Any]:
        """The ledger as plain values."""
        found: dict[str, Any] = self.control("GET", "ledger")
        return found

    def clear_ledger(self) -> None:
        self.control("DELETE", "ledger")

    def wait(self, counter: str, *, at_least: int | None = None, at_most: int | None = None, timeout: float = 5.0) -> None:
        """Until a counter of the ledger (`requests_seen`, `in_flight`, ...) is where it should be. Raises `TimeoutError`."""
        self.control("POST", "wait", {"counter": counter, "at_least": at_least, "at_most": at_most, "timeout": timeout})

    def remove_model(self, name: str) -> None:
        self.control("DELETE", f"models?name={quote(name)}")

    def control(self, method: str, command: str, value: Any = None) -> Any:
        """One command. Raises `ValueError` with the reason when it is refused."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_LIMIT_SECONDS + 60)
        try:
            body = None if value is None else json.dumps(value)
            connection.request(method, f"/control/{command}", body, {"Connection": "close"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status == 408:
            raise TimeoutError(answer["error"])
        if response.status != 200:
            raise ValueError(answer["error"])
        return answer
