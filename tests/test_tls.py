import asyncio
import json
import os
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from processes import AUTH, LOG, program, until
from serving import chat_request

from tornado_gateway.config import Settings
from tornado_gateway.hookspecs import StartupRefused
from tornado_gateway.testing import FakeOllama
from tornado_gateway.tls import read_pair, tls_context

FILES = {"certificate": "server.pem", "key": "server.key"}


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


def issue(authority: trustme.CA, folder: Path) -> None:
    issued = authority.issue_cert("localhost", "127.0.0.1")
    (folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    (folder / "server.key").write_bytes(issued.private_key_pem.bytes())


async def shown(port: int, authority: trustme.CA) -> bytes:
    """The certificate that a client is shown, who trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return certificate


def settings(folder: Path) -> Settings:
    files = {name: str(folder / file) for name, file in FILES.items()}
    return Settings.model_validate({"server": {"tls": files}})


def test_without_files_there_is_no_tls() -> None:
    assert tls_context(Settings()) is None


def test_files_that_are_missing_or_do_not_fit_refuse_the_start(tmp_path: Path) -> None:
    authority = trustme.CA()
    issue(authority, tmp_path)
    assert isinstance(tls_context(settings(tmp_path)), ssl.SSLContext)

    (tmp_path / "server.key").write_bytes(authority.issue_cert("localhost").private_key_pem.bytes())
    with pytest.raises(StartupRefused, match=r"server\.tls"):
        tls_context(settings(tmp_path))
    (tmp_path / "server.key").unlink()
    with pytest.raises(StartupRefused, match=r"server\.tls"):
        tls_context(settings(tmp_path))


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_certificate_is_read_again_on_sighup_and_one_that_does_not_fit_is_not_used(
    ollama: FakeOllama, tmp_path: Path, workers: int
) -> None:
    authority = trustme.CA()
    issue(authority, tmp_path)
    async with program(tmp_path, ollama.url, workers=workers, plugins=[LOG, AUTH], server={"tls": FILES}) as running:
        first = await shown(running.port, authority)
        (tmp_path / "server.key").write_bytes(authority.issue_cert("localhost").private_key_pem.bytes())
        running.signal(signal.SIGHUP)
        await until(lambda: running.events("reload_refused"))
        assert await shown(running.port, authority) == first

        issue(authority, tmp_path)
        running.signal(signal.SIGHUP)
        await until(lambda: len(running.events("reloaded")) == workers)

        assert await shown(running.port, authority) != first


def test_a_pair_that_was_read_counts_whatever_the_files_say_now(tmp_path: Path) -> None:
    issue(trustme.CA(), tmp_path)
    pair = read_pair(settings(tmp_path))

    (tmp_path / "server.key").write_text("broken")

    assert isinstance(tls_context(settings(tmp_path), pair), ssl.SSLContext)
    assert pair
    assert "PRIVATE" not in repr(pair)


def test_a_pair_that_cannot_be_read_or_does_not_fit_is_refused(tmp_path: Path) -> None:
    authority = trustme.CA()
    issue(authority, tmp_path)
    (tmp_path / "server.key").write_bytes(authority.issue_cert("localhost").private_key_pem.bytes())
    with pytest.raises(StartupRefused, match=r"server\.tls"):
        tls_context(settings(tmp_path), read_pair(settings(tmp_path)))

    (tmp_path / "server.key").unlink()
    with pytest.raises(StartupRefused, match=r"server\.tls: .*server\.key"):
        read_pair(settings(tmp_path))


async def test_a_worker_that_follows_a_refused_reload_shows_the_old_certificate(ollama: FakeOllama, tmp_path: Path) -> None:
    authority = trustme.CA()
    issue(authority, tmp_path)
    async with program(tmp_path, ollama.url, workers=2, plugins=[LOG, AUTH], server={"tls": FILES}) as running:
        first = await shown(running.port, authority)
        (tmp_path / "server.key").write_text("broken")
        running.signal(signal.SIGHUP)
        await until(lambda: running.events("reload_refused"))

        _, killed = running.workers()
        os.kill(killed, signal.SIGKILL)
        await until(lambda: running.events("worker_left"))
        async with asyncio.timeout(20):
            certificates = {await shown(running.port, authority) for _ in range(20)}
        workers = await until(lambda: len(now := running.workers()) == 2 and now)

        assert certificates == {first}
        assert killed not in workers
        assert not running.events("worker_not_started")


async def test_a_stream_behind_tls_arrives_as_it_does_without(ollama: FakeOllama, tmp_path: Path) -> None:
    """Through the event loop that the program uses, whose own TLS has its own notion of what waits."""
    authority, context = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(context)
    issue(authority, tmp_path)
    body = json.dumps({"model": "llama3.2", "stream": True, "messages": [{"role": "user", "content": "Hello"}]})
    async with program(tmp_path, ollama.url, plugins=[AUTH], server={"tls": FILES}) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=context)
        for _ in range(2):
            writer.write(chat_request(body.encode()))
            streamed = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 5)

            assert streamed.startswith(b"HTTP/1.1 200 ")
            assert b"data: [DONE]" in streamed
        writer.close()
