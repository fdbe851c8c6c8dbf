import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import KEY, LOG, Program, program, until, write_config

from tornado_gateway.cli.serve import run_server, summary
from tornado_gateway.config import Settings
from tornado_gateway.server import Ready, UpstreamFacts
from tornado_gateway.testing import FakeOllama


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    return capsys


def test_the_summary_tells_address_upstreams_plugins_and_the_file(plain: pytest.CaptureFixture[str]) -> None:
    upstreams = [UpstreamFacts("http://a", True, ("x", "y")), UpstreamFacts("http://b", False, (), "It does not answer.")]

    summary(Ready(["http://127.0.0.1:3000"], ["auth", "cache"], upstreams), Path("my.yaml"), {})

    lines = plain.readouterr().out.splitlines()
    assert lines[0].endswith(" listens at http://127.0.0.1:3000")
    assert lines[1:] == [
        "configuration: my.yaml",
        "upstream http://a: 2 models (x, y)",
        "upstream http://b: not reachable (It does not answer.); requests are refused until it is",
        "plugins: auth, cache",
    ]


def test_an_ollama_without_models_is_told_how_to_get_one(plain: pytest.CaptureFixture[str]) -> None:
    summary(Ready([], [], [UpstreamFacts("http://a", True)]), None, {})

    assert "ollama pull llama3.2" in plain.readouterr().out


def test_without_a_key_and_beyond_this_machine_it_refuses_in_one_line(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in ("OPENAI_API", "PORT", "OLLAMA_API")}
    command = [sys.executable, "-m", "tornado_gateway", "serve", "--host", "0.0.0.0", "--port", "0"]

    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no key is given" in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_file_that_only_switches_keys_on_takes_the_one_of_the_environment(tmp_path: Path, workers: int) -> None:
    async with (
        FakeOllama() as ollama,
        program(
            tmp_path,
            ollama.url,
            plugins=["auth"],
            server={"host": "0.0.0.0"},  # where it would not start without a key
            environment={"OPENAI_API": KEY},
            workers=workers,
        ) as running,
    ):
        assert (await running.ask("/v1/models")).status == 200
        assert (await running.ask("/v1/models", key="another")).status == 401


async def test_a_file_that_is_gone_at_a_reload_changes_nothing(tmp_path: Path) -> None:
    """Without the file the defaults would count, which have another list of plugins and other keys."""
    file = tmp_path / "config.yaml"
    file.write_text("server: {port: 0}\nplugins: [logging]\n")
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tornado_gateway",
        "serve",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert server.stdout
    assert server.stderr
    try:
        async with asyncio.timeout(20):
            await server.stdout.readline()
            file.unlink()
            server.send_signal(signal.SIGHUP)
            while b"reload_refused" not in (line := await server.stderr.readline()):
                assert line
            server.terminate()
            await server.communicate()
    finally:
        if server.returncode is None:
            server.kill()
            await server.communicate()

    assert b"config.yaml: cannot be read" in line
    assert server.returncode == 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("output", ["a closed pipe", "/dev/full"])
async def test_a_server_whose_output_nobody_can_take_serves_all_the_same(tmp_path: Path, output: str, workers: int) -> None:
    async with FakeOllama() as ollama:
        write_config(tmp_path / "config.yaml", ollama.url, plugins=["logging"])
        with unwritable(output) as stdout:
            server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tornado_gateway", "serve", "--workers", str(workers)),
                cwd=tmp_path,
                stdout=stdout,
                stderr=asyncio.subprocess.PIPE,
            )
        assert server.stderr
        errors = b""
        try:
            async with asyncio.timeout(30):
                errors += await server.stderr.readuntil(b"started")
                while not ollama.ledger.requests:  # noqa: ASYNC110  # the summary comes after it
                    await asyncio.sleep(0.01)
                server.send_signal(signal.SIGHUP)
                errors += await server.stderr.readuntil(b"reloaded")
                server.terminate()
                errors += await server.stderr.read()
                await server.wait()
        finally:
            if server.returncode is None:
                server.kill()
                await server.communicate()

    assert server.returncode == 0
    assert b"worker_left" not in errors
    assert b"Exception" not in errors


@contextmanager
def unwritable(output: str) -> Iterator[int]:
    if output == "a closed pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(output, os.O_WRONLY)
    yield writing
    os.close(writing)


def test_an_address_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("plugins: []\nserver: {allow_anonymous: true}")
    command = [sys.executable, "-m", "tornado_gateway", "serve", "--host", "192.0.2.1", "--port", "0"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 1
    assert done.stderr == "tornado-gateway: cannot listen at 192.0.2.1, port 0: Cannot assign requested address\n"


def test_what_else_ends_a_server_is_not_called_an_address() -> None:
    def serving(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        run_server(Settings(), serving)


@pytest.mark.parametrize(("closing", "workers"), [("<&-", 1), (">&-", 1), ("2>&-", 1), ("<&- >&- 2>&-", 2)])
async def test_a_server_without_standard_streams_serves_and_stops(tmp_path: Path, closing: str, workers: int) -> None:
    write_config(tmp_path / "config.yaml", "http://127.0.0.1:1", plugins=[LOG])
    command = f"exec {sys.executable} -m tornado_gateway serve --workers {workers} {closing}"
    process = await asyncio.create_subprocess_shell(command, cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL)
    running = Program(process, tmp_path)
    try:
        await until(lambda: running.events("started") or process.returncode is not None)
        process.terminate()
        code = await running.exit()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert code == 0
    assert len(running.events("stopping")) == (1 if workers == 1 else 1 + workers)
    assert not running.events("worker_left")
