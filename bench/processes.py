"""Programs under measurement: started, watched and ended by pid, with all their children, whatever happens."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

_POLL_SECONDS = 0.002
_END_SECONDS = 10
_CPUCLOCK_SCHED = 2
"""The clock of Linux that counts the nanoseconds which a process has run (include/linux/posix-timers_types.h)."""


class Program:
    """A process and its children. Use it as a context manager: leaving the block ends them all."""

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._env = {**os.environ, **(env or {})}

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C on the terminal reaches only the bench, which then ends its programs in order.
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                cwd=self.log.parent,
                start_new_session=True,
            )
        self.started = time.perf_counter()
        self._process = psutil.Process(self._popen.pid)
        return self

    def __exit__(self, *exc: object) -> None:
        tree = self._tree()
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(tree, timeout=_END_SECONDS)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._popen.wait()

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def cpu_seconds(self) -> float:
        """User and system time of all processes that run now, since each of them began."""
        total = 0.0
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += _cpu_seconds(process)
        return total

    def memory_bytes(self) -> int:
        """Resident memory of all processes. Pages that they share count for each of them."""
        total = 0
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    def last_words(self) -> str:
        lines = self.log.read_text("utf-8", errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _cpu_seconds(process: psutil.Process) -> float:
    """psutil counts in hundredths of a second, and nginx needs a tenth of one for three seconds of paced streams."""
    if sys.platform != "linux":
        times = process.cpu_times()
        return float(times.user + times.system)
    try:
        return time.clock_gettime(~process.pid << 3 | _CPUCLOCK_SCHED)  # as clock_getcpuclockid(3) makes it
    except OSError as error:
        raise psutil.NoSuchProcess(process.pid) from error


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def post(port: int, path: str, body: bytes, headers: Mapping[str, str], timeout: float = 30) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_for_answer(program: Program, port: int, path: str, body: bytes, headers: Mapping[str, str], limit: float) -> float:
    """Seconds from the program's start to its first good answer. Raises `RuntimeError` when it ends or `limit` passes before."""
    said = "no answer"
    while time.perf_counter() - program.started < limit:
        if not program.running:
            raise RuntimeError(f"it ended at once: {program.last_words()}")
        try:
            status, answer = post(port, path, body, headers)
        except OSError:
            time.sleep(_POLL_SECONDS)
            continue
        if status == 200:
            return time.perf_counter() - program.started
        said = f"status {status}: {answer[:200]!r}"
        time.sleep(0.05)
    raise RuntimeError(f"no good answer within {limit:.0f} s ({said})")
