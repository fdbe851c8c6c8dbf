import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tornado_gateway.cli.new_plugin import names_of, write
from tornado_gateway.cli.skeleton import filled


@pytest.mark.parametrize("name", ["quiet", "none", "context", "very-long-name-of-a-plugin-that-has-40ch"])
def test_every_file_is_whole_and_python_where_it_says_so(name: str) -> None:
    for path, text in filled(names_of(name)).items():
        assert "$" not in path + text
        assert text.endswith("\n")
        if path.endswith(".py"):
            ast.parse(text)


def test_what_is_written_needs_no_correction(tmp_path: Path) -> None:
    write(tmp_path / "new", filled(names_of("quiet")))

    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--isolated", "--line-length=120"], ["format", "--isolated", "--line-length=120", "--check"]):
        done = subprocess.run([*ruff, *command, tmp_path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
