"""`make mutants`: every mutant on a copy of the tree, against its cases; a table of which case saw it. Exit 1 if one lives."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from faults.mutants import MUTANTS, Mutant  # noqa: E402  # found there

_LIMIT_SECONDS = 300


def main(*names: str) -> int:
    """Only the mutants in whose names one of `names` occurs; all without."""
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    alive = 0
    with tempfile.TemporaryDirectory(prefix="tornado-gateway-mutants-") as folder:
        tree = Path(folder) / "tree"
        _copy(tree)
        cases = sorted({case for mutant in chosen for case in mutant.cases})
        if red := _first_red(tree, cases):
            click.echo(f"without any mutant this is red already: {red}")
            return 1
        width = max(len(mutant.name) for mutant in chosen)
        for mutant in chosen:
            red = _with(mutant, tree)
            alive += red is None
            click.echo(f"{mutant.name:{width}}  {red or 'ALIVE: ' + ' '.join(mutant.cases)}")
    click.echo(f"{len(chosen) - alive} of {len(chosen)} mutants are seen")
    return 1 if alive else 0


def _copy(tree: Path) -> None:
    """The working tree as it stands, without what git ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def _with(mutant: Mutant, tree: Path) -> str | None:
    before = {change.file: (tree / change.file).read_text("utf-8") for change in mutant.changes}
    try:
        for change in mutant.changes:
            text = (tree / change.file).read_text("utf-8")
            (tree / change.file).write_text(text.replace(change.old, change.new), "utf-8")
        return _first_red(tree, list(mutant.cases))
    finally:
        for file, text in before.items():
            (tree / file).write_text(text, "utf-8")


def _first_red(tree: Path, cases: list[str]) -> str | None:
    """The first test that fails; a run that does not come to its end counts."""
    paths = os.pathsep.join(str(path) for path in (tree, tree / "plugins", tree / "tests"))
    environ = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-q", "-x", "--tb=line", "-p", "no:cacheprovider", "-o", "timeout=30"]
    command = [sys.executable, "-m", "pytest", *options, *(f"tests/{case}" for case in cases)]
    try:
        run = subprocess.run(
            command, cwd=tree, env=environ, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "none came to its end"
    if run.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) ([^\s\[]+(?:\[.*?\])?)", run.stdout, re.MULTILINE)
    return found[1].removeprefix("tests/") if found else f"pytest ended with {run.returncode}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
