import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tornado_gateway.cli.demo import curl_line, simulated_ollama, snippet


@contextmanager
def started(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """The program as a newcomer starts it, and what it printed until it was ready."""
    command = [sys.executable, "-m", "tornado_gateway", "demo", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        yield process, lines
        process.kill()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    with started(tmp_path_factory.mktemp("demo")) as running:
        yield running


def test_the_printed_curl_line_works_when_pasted(demo: tuple["subprocess.Popen[str]", list[str]]) -> None:
    (line,) = [line for line in demo[1] if line.startswith("curl ")]

    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=20, check=False)

    assert done.stdout.startswith('data: {"id":"chatcmpl-')
    assert done.stdout.endswith("data: [DONE]\n\n")


def test_the_printed_python_works_when_pasted(demo: tuple["subprocess.Popen[str]", list[str]], tmp_path: Path) -> None:
    start = demo[1].index("from openai import OpenAI")
    pasted = "\n".join(demo[1][start : demo[1].index("", start)])

    done = subprocess.run([sys.executable, "-c", pasted], capture_output=True, text=True, timeout=20, check=False)

    assert done.stdout.strip()
    assert done.returncode == 0


def test_ctrl_c_ends_both(tmp_path: Path) -> None:
    with started(tmp_path) as (process, _):
        os.kill(process.pid, signal.SIGINT)

        assert process.wait(timeout=20) == 0


def test_the_port_of_the_simulated_ollama_can_be_given() -> None:
    with simulated_ollama(0) as url:
        port = int(url.rpartition(":")[2])
        command = [sys.executable, "-m", "tornado_gateway", "demo", "--upstream-port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 1
    assert (
        done.stderr
        == f"tornado-gateway: the simulated Ollama cannot listen at 127.0.0.1, port {port}: Address already in use\n"
    )


def test_what_is_printed_is_for_any_shell_and_python() -> None:
    assert shlex.split(curl_line("http://h", "k"))[0] == "curl"
    compile(snippet("http://h", "k"), "snippet", "exec")
