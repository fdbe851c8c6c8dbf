"""The public API as the type checkers of plugin authors see it: `typing_tests/`, by mypy (in `make check`) and pyright."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tornado_gateway import hookspecs, testing

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "typing_tests").glob("*.py"))
PYRIGHT = shutil.which("pyright", path=str(Path(sys.executable).parent)) or shutil.which("pyright")


@pytest.mark.timeout(120)
@pytest.mark.skipif(PYRIGHT is None, reason="pyright is not installed")
def test_issue_6_pyright_finds_nothing_to_say_of_the_public_api() -> None:
    done = subprocess.run(
        [str(PYRIGHT), "--pythonpath", sys.executable, *map(str, FILES)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    if not re.search(r"^\d+ errors?, ", done.stdout, re.MULTILINE):
        pytest.skip("pyright cannot be had here: it fetches itself when it is first called")
    assert done.returncode == 0, done.stdout


def test_the_public_api_is_used_whole() -> None:
    used = {node.id for file in FILES for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Name)}

    assert set(hookspecs.__all__) - used == set()
    assert {"FakeOllama", "GatewayThread", "OllamaThread", "Reply", "say"} <= used


def test_what_is_public_is_there() -> None:
    for module in (hookspecs, testing):
        assert all(hasattr(module, name) for name in module.__all__)


def test_the_page_about_compatibility_names_what_is_public() -> None:
    page = (ROOT / "docs" / "compatibility.md").read_text("utf-8")

    for module in re.findall(r"`(tornado_gateway\.\w+)\.__all__`", page):
        assert module in ("tornado_gateway.hookspecs", "tornado_gateway.testing")
