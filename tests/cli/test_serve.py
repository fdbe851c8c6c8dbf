import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tornado_gateway.cli.serve import summary
from tornado_gateway.config import Settings
from tornado_gateway.loading import Loaded
from tornado_gateway.server import Ready, UpstreamFacts


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    return capsys


def test_the_summary_tells_address_upstreams_plugins_and_the_file(plain: pytest.CaptureFixture[str]) -> None:
    upstreams = [UpstreamFacts("http://a", True, ("x", "y")), UpstreamFacts("http://b", False, (), "It does not answer.")]

    summary(Ready(["http://127.0.0.1:3000"], ["auth", "cache"], upstreams), Loaded(Settings(), {}, Path("my.yaml"), ""))

    lines = plain.readouterr().out.splitlines()
    assert lines[0].endswith(" listens at http://127.0.0.1:3000")
    assert lines[1:] == [
        "configuration: my.yaml",
        "upstream http://a: 2 models (x, y)",
        "upstream http://b: not reachable (It does not answer.); requests are refused until it is",
        "plugins: auth, cache",
    ]


def test_an_ollama_without_models_is_told_how_to_get_one(plain: pytest.CaptureFixture[str]) -> None:
    summary(Ready([], [], [UpstreamFacts("http://a", True)]), Loaded(Settings(), {}, None, ""))

    assert "ollama pull llama3.2" in plain.readouterr().out


def test_without_a_key_and_beyond_this_machine_it_refuses_in_one_line(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in ("OPENAI_API", "PORT", "OLLAMA_API")}
    command = [sys.executable, "-m", "tornado_gateway", "serve", "--host", "0.0.0.0", "--port", "0"]

    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no key is given" in done.stderr


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
