import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from processes import program

from tornado_gateway import systemd
from tornado_gateway.testing import FakeOllama


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(30)
        yield notified


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


def test_a_word_reaches_the_socket(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", listening.getsockname())

    systemd.notify("READY=1")
    systemd.notify("RELOADING=1", monotonic=True)

    assert listening.recv(100) == b"READY=1"
    assert listening.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")


def test_an_abstract_socket_is_written_with_an_at_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"tornado-gateway-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")

        systemd.notify("READY=1")

        assert notified.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, "/nowhere/at/all"])
def test_where_nobody_listens_nothing_happens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address:
        monkeypatch.setenv("NOTIFY_SOCKET", address)

    systemd.notify("READY=1")


@pytest.mark.parametrize("workers", [1, 2])
async def test_systemd_hears_of_the_start_a_reload_and_the_stop(
    listening: socket.socket, ollama: FakeOllama, tmp_path: Path, workers: int
) -> None:
    """Once each, also where several workers serve: the parent speaks."""
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    async with program(tmp_path, ollama.url, workers=workers, environment=environment) as running:
        heard = [await asyncio.to_thread(listening.recv, 100)]
        running.signal(signal.SIGHUP)
        heard += [await asyncio.to_thread(listening.recv, 100) for _ in range(2)]
        running.signal(signal.SIGTERM)
        heard.append(await asyncio.to_thread(listening.recv, 100))

        assert [word.split(b"\n")[0] for word in heard] == [b"READY=1", b"RELOADING=1", b"READY=1", b"STOPPING=1"]
        assert await running.exit() == 0
