import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tornado_gateway import __version__
from tornado_gateway.cli import COMMANDS, program, run

PROGRAM = [sys.executable, "-m", "tornado_gateway"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in an environment that says nothing."""
    monkeypatch.chdir(tmp_path)
    for name in ("PORT", "OLLAMA_API", "OPENAI_API", "TORNADO_GATEWAY_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_screen(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    assert f"Usage: tornado-gateway {command}" in capsys.readouterr().out


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["serve", "--nonsense"], "No such option '--nonsense'"),
        (["serve", "--port", "abc"], "'abc' is not a valid integer range"),
        (["serve", "--port", "65536"], "65536 is not in the range"),
        (["serve", "--workers", "0"], "--workers"),
        (["serve", "-c", "no.yaml"], "no.yaml: cannot be read: No such file or directory"),
        (["serve", "--upstream", "gpu"], "command line: upstream.url: must begin with http:// or https://"),
        (["keygen", "--name", " "], "--name must be printable text"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2

    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.count("\n") == 1
    assert message in written.err


def test_nothing_typed_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Usage: tornado-gateway" in "".join(capsys.readouterr())


def test_a_fault_of_ours_is_a_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    @click.command("check")
    def broken() -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("tornado_gateway.cli.check.command", broken)

    assert run(["check"]) == 1
    assert capsys.readouterr().err == "tornado-gateway: this should not have happened: ZeroDivisionError: two lines\n"


def test_shells_can_complete_commands() -> None:
    environ = {**os.environ, "_TORNADO_GATEWAY_COMPLETE": "bash_complete", "COMP_WORDS": "tornado-gateway k", "COMP_CWORD": "1"}
    script = "from tornado_gateway.cli import main; main()"

    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "plain,keygen"


def test_a_reader_that_leaves_ends_the_program_without_a_word() -> None:
    program = subprocess.Popen([*PROGRAM, "config", "--schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout
    assert program.stderr
    program.stdout.close()

    with program, program.stderr as errors:
        assert errors.read() == b""


def test_the_module_is_the_same_program() -> None:
    done = subprocess.run([*PROGRAM, "check"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "the built-in configuration is valid\n", "")


def test_a_port_that_is_taken_is_one_line_and_exit_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*PROGRAM, "serve", "--port", port], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert (
        done.stderr
        == f"tornado-gateway: cannot listen at 127.0.0.1, port {port}: another program does; choose another with --port\n"
    )


def test_ctrl_c_ends_it_with_exit_code_0() -> None:
    with subprocess.Popen(
        [*PROGRAM, "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        assert server.stdout.readline().startswith(f"tornado-gateway {__version__} listens at http://127.0.0.1:")
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=20)

    assert server.returncode == 0
    assert "Traceback" not in errors


def test_the_group_knows_its_commands() -> None:
    assert program.list_commands(click.Context(program)) == list(COMMANDS)
