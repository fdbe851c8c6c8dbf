"""Environments outside the repository: one for each peer that comes from PyPI, and the size of what an installation adds.

They stay under `~/.cache/tornado-gateway-bench` (or `$BENCH_CACHE`), by the version of Python, so that a second run sets nothing up again.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("BENCH_CACHE") or Path.home() / ".cache" / "tornado-gateway-bench") / platform.python_version()
"""Of this interpreter: sizes are compared with an empty environment, and that of another one is larger or smaller by megabytes."""
_INSTALL_SECONDS = 900


class Missing(Exception):
    """A peer that is not there; the text says why."""


def tool(name: str, package: str) -> str:
    """The path of a program that comes from the system's packages."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"{name} is not installed (Debian and Ubuntu: apt install {package})")
    return found


def program(folder: str, requirement: str, name: str) -> Path:
    """A program of a package from PyPI, installed in an environment of its own when it is not there yet."""
    path = CACHE / folder / "bin" / name
    stamp = CACHE / folder / ".requirement"
    if not path.exists() or not stamp.exists() or stamp.read_text("utf-8") != requirement:
        _install(CACHE / folder, [requirement])
        stamp.write_text(requirement, "utf-8")
    if not path.exists():
        raise Missing(f"{requirement} has no program {name}")
    return path


def added_megabytes(folder: Path) -> float:
    """What an environment holds on disk beyond an empty one."""
    return (_disk_bytes(folder) - _disk_bytes(_empty())) / 1e6


def installed_megabytes() -> float:
    """What a fresh installation of this project with its `speed` extra adds to an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "environment")
        source.mkdir()
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "tornado_gateway", "plugins"):
            _copy(ROOT / name, source / name)
        _install(target, [f"{source}[speed]"])
        return added_megabytes(target)


def package_megabytes(*packages: str) -> float | None:
    """The size of Debian packages as the system tells it."""
    query = ["dpkg-query", "-W", "-f", "${Installed-Size}\n", *packages]
    try:
        shown = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    except OSError:
        return None
    return sum(map(int, shown)) * 1024 / 1e6 if shown else None


def _install(folder: Path, requirements: list[str]) -> None:
    venv.create(folder, with_pip=True, clear=True)
    # What this interpreter was told about modules and warnings is not for the other environment.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, env=env, check=False)
    except subprocess.TimeoutExpired:
        raise Missing(f"{requirements[0]} could not be installed within {_INSTALL_SECONDS} s") from None
    if done.returncode:
        raise Missing(f"{requirements[0]} could not be installed: {done.stderr.strip().splitlines()[-1][:200]}")


def _empty() -> Path:
    folder = CACHE / "empty"
    if not folder.exists():
        venv.create(folder, with_pip=True)
        # Bytecode as in the others, where installing with pip has compiled its own modules.
        subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "--version"], capture_output=True, check=False)
    return folder


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _disk_bytes(folder: Path) -> int:
    """As `du` counts: whole blocks, links not followed, a file with several names once."""
    seen: dict[tuple[int, int], int] = {}
    for path in folder.rglob("*"):
        if not path.is_symlink():
            status = path.lstat()
            seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())
