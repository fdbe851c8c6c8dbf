"""docs/plugins.md, step by step, as a newcomer types it: from an empty folder to a plugin that runs (issue 6)."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def tools(environment: Path, tmp_path: Path) -> Iterator[Path]:
    """`pip` and `pytest` of the environment: pip without a network, since all that the plugin needs is there."""
    folder = tmp_path / "tools"
    folder.mkdir()
    python = environment / "bin" / "python"
    pip = f'shift; exec {sys.executable} -m pip --python {python} install -q --no-deps --no-index --no-build-isolation "$@"'
    for name, script in {"pip": pip, "pytest": f'exec {python} -m pytest -q -p no:cacheprovider -p no:randomly "$@"'}.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    yield folder
    run = [sys.executable, "-m", "pip", "--python", python, "uninstall", "-q", "-y", "tornado-gateway-quiet"]
    subprocess.run(list(map(str, run)), check=False, capture_output=True)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def script() -> str:
    """The page as one shell script: commands as they stand, other blocks written where the page says."""
    lines = ["set -e"]
    for number, (language, text) in enumerate(BLOCKS):
        if language == "sh":
            lines.append(text)
        elif language == "yaml":
            lines.append(f"cat > config.yaml <<'END{number}'\n{text}END{number}")
        elif language == "python":
            lines.append(f"cat > {text.split()[1]} <<'END{number}'\n{text}END{number}")
    # The times of files are coarser than a quick typist: an older module's bytecode must not count for the new one.
    return "\n".join(lines).replace("11435", free_port()).replace("3000", free_port())


@pytest.mark.timeout(180)
def test_issue_6_the_tutorial_leads_from_an_empty_folder_to_a_plugin_that_runs(
    environment: Path, tools: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    environ = {**os.environ, "PATH": f"{tools}:{environment / 'bin'}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
    environ.pop("TORNADO_GATEWAY_CONFIG", None)

    done = subprocess.run(
        ["bash", "-c", script()], cwd=folder, env=environ, capture_output=True, text=True, timeout=170, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^(\d+) passed", done.stdout, re.MULTILINE) == ["3", "3"]
    assert "quiet  tornado-gateway-quiet 0.1.0  on, 1." in done.stdout
    assert '"message":"The model llama3.2 is closed for now.","type":"invalid_request_error","param":"model"' in done.stdout


def test_the_answer_that_the_page_shows_is_the_one_that_comes() -> None:
    (shown,) = [text for language, text in BLOCKS if language == "json"]

    assert "The model llama3.2 is closed for now." in shown
