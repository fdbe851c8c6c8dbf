"""One worker as its parent sees it: a process, a channel to it, and the signs that it gives.

`worker.py` is the other end. The messages from there are `beat`, `ready`, `reloaded`, `leaving`, `failed`, `announce`, `call`, `tell`
and `cancel`; the messages to there are `answer`, `failure`, `reload` and `stop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from tornado_gateway.channel import Channel
from tornado_gateway.keepers import Keepers
from tornado_gateway.log import get_logger
from tornado_gateway.memory import in_memory
from tornado_gateway.signals import hang_up_waits
from tornado_gateway.worker import VARIABLE, Handed

_LAST_SECONDS = 3.0
"""For a process whose channel has closed to end by itself."""
_NOT_FOR_WORKERS = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"})
"""systemd speaks with the parent only."""

Reload = asyncio.Future[list[str] | None]
"""The plugins that go on with what they had; None: nothing was taken."""

_log = get_logger(__name__)


class Child:
    """A worker from its start to its end. `number` is its place, `life` is never used again.

    Raises `OSError` when there is no room for another process or its descriptors.
    """

    def __init__(
        self,
        number: int,
        of: int,
        sockets: Sequence[socket.socket],
        command: Sequence[str],
        handed: Handed,
        life: int,
        keepers: Keepers,
        announce: Callable[[str], None],
    ) -> None:
        self.number = number
        self.life = life
        self.ready = asyncio.Event()
        self.out_of_service = asyncio.Event()
        """It takes nobody in any more: it has ended, or is about to."""
        self.heard = False
        """Whether its heart has begun to beat."""
        self.silent = 0
        """Ticks of the parent since its heart beat last."""
        self.code: int | None = None
        self.reason = ""
        """Why it ended, where it, or who ended it, said so."""
        self.began = time.monotonic()
        self._announce = announce
        self._reload: Reload = asyncio.get_running_loop().create_future()
        self._offer: tuple[int, bytes] | None = None  # the last one: what comes of others is nobody's concern any more
        self._lost = asyncio.Event()
        self._channel = Channel(self._receive, self._lost.set)
        self._desk = keepers.desk(life, self._channel.send)
        ours, theirs = socket.socketpair()
        try:
            # A SIGHUP is not for it, but whoever sends one to all processes must not end it.
            with theirs, in_memory(handed.packed()) as file, hang_up_waits():
                self._process = _spawn(command, number, of, sockets, theirs, file, speaks=life == 0)
        except OSError:
            ours.close()
            raise
        self.ended = asyncio.get_running_loop().create_task(self._live(ours))
        """Done when nothing of it is left."""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def serves(self) -> bool:
        return self.ready.is_set() and not self.out_of_service.is_set()

    @property
    def refused(self) -> bool:
        """Whether it took nothing of the last reload."""
        return self._reload.done() and not self._reload.cancelled() and self._reload.result() is None

    def reload(self, number: int, handed: bytes) -> Reload:
        """Have it take other settings, as soon as it serves. Cancelled when it ends before that is done."""
        self._reload.cancel()
        self._reload = asyncio.get_running_loop().create_future()
        self._offer = (number, handed)
        if self.serves:
            self._channel.send(["reload", number, handed])
        elif self.out_of_service.is_set():
            self._reload.cancel()
        return self._reload

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def stop(self, *, at_once: bool = False) -> None:
        """Have it drain, or not wait any longer: by a word, which is not one signal more where somebody else has sent it one."""
        if not (self.ready.is_set() and self._channel.send(["stop", at_once])):
            self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Whatever it is doing; also a process that is stopped."""
        self._process.kill()

    async def _live(self, line: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self._channel, sock=line)
            await self._lost.wait()
        finally:
            self._channel.close()
        self._leave()
        await self._desk.close()
        self.code = await self._reap()

    def _leave(self) -> None:
        self.out_of_service.set()
        self._reload.cancel()

    async def _reap(self) -> int:
        until = time.monotonic() + _LAST_SECONDS
        while (code := self._process.poll()) is None:
            if time.monotonic() > until:
                self._process.kill()
            await asyncio.sleep(0.01)
        return code

    def _receive(self, message: list[Any]) -> None:
        match message:
            case ["beat"]:
                self.heard = True
                self.silent = 0
            case ["call", number, plugin, method, args]:
                self._desk.call(number, plugin, method, args)
            case ["tell", plugin, method, args]:
                self._desk.tell(plugin, method, args)
            case ["cancel", number]:
                self._desk.cancel(number)
            case ["ready"]:
                self.ready.set()
                if self._offer is not None:
                    self._channel.send(["reload", *self._offer])
            case ["reloaded", number, behind]:
                if self._offer is not None and number == self._offer[0] and not self._reload.done():
                    self._reload.set_result(behind)
            case ["leaving"]:
                self._leave()
            case ["failed", reason]:
                self.reason = reason
            case ["announce", line]:
                self._announce(line)
            case _:
                _log.error("worker_said_nonsense", worker=self.number)


def _spawn(
    command: Sequence[str],
    number: int,
    of: int,
    sockets: Sequence[socket.socket],
    line: socket.socket,
    handed: IO[bytes],
    *,
    speaks: bool,
) -> subprocess.Popen[bytes]:
    descriptors = [bound.fileno() for bound in sockets]
    facts = {
        "number": number,
        "of": of,
        "sockets": descriptors,
        "line": line.fileno(),
        "handed": handed.fileno(),
        "speaks": speaks,
        "parent": os.getpid(),
    }
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_WORKERS}
    return subprocess.Popen(  # noqa: S603  # our own program
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=[*descriptors, line.fileno(), handed.fileno()],
        env={**environment, VARIABLE: json.dumps(facts)},
        # Ctrl-C reaches the parent alone, which tells its workers: told twice, they would not wait for their streams.
        process_group=0,
    )
