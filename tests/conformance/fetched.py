"""What the conformance tests fetch from package registries: once, into the user's cache; a second run downloads nothing.

No test needs the internet: where a registry cannot be reached and the cache is empty, the test that asks is skipped and says why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

_SECONDS = 240
_PATIENCE = {"PIP_RETRIES": "1", "PIP_TIMEOUT": "10", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}


def fetched(name: str, fetch: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, filled by `fetch` if it is not there: as a whole or not at all."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tornado-gateway" / "conformance"
    folder = home / name
    if folder.is_dir():
        return folder
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, ignore_cleanup_errors=True) as began:
        work = Path(began) / "work"
        work.mkdir()
        fetch(work)
        try:
            work.rename(folder)
        except OSError:
            if not folder.is_dir():  # another run was faster, or the disk has a reason of its own
                raise
    return folder


def pip(*arguments: str | Path) -> None:
    """Run pip of this environment; skips the test where it cannot get what is asked for."""
    run(sys.executable, "-m", "pip", *arguments, "--quiet", environment={"PYTHONWARNINGS": "ignore", **_PATIENCE})


def run(*command: str | Path, folder: Path | None = None, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            list(map(str, command)), cwd=folder, env={**os.environ, **(environment or {})},
            capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip(f"{command[0]} took over {_SECONDS} s to fetch what this test needs")
    if done.returncode:
        reasons = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        pytest.skip(f"what this test needs could not be fetched: {reasons[-1]}")


def sdist(requirement: str, folder: Path, into: str) -> None:
    """The source distribution of a package, unpacked at `folder / into`."""
    name = requirement.partition("==")[0]
    with tempfile.TemporaryDirectory(dir=folder) as download:
        pip("download", "--no-deps", "--no-binary", name, "--dest", download, requirement)
        (archive,) = Path(download).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(download, filter="data")
        archive.unlink()
        (source,) = Path(download).iterdir()
        shutil.move(source, folder / into)
