"""The distribution built once, and environments that hold nothing of ours but what is installed into them."""

import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, **more: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False, **more)  # type: ignore[call-overload]  # handed on
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and an sdist, built from a copy so that the source tree stays as it is."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    for name in _tracked():
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source)
    return folder


def _tracked() -> list[str]:
    """What a clone would hold, and what is new; without git (in an unpacked sdist) everything that is ours."""
    git = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = git.stdout.splitlines() if git.returncode == 0 else [str(path.relative_to(ROOT)) for path in _files(ROOT)]
    return [name for name in names if (ROOT / name).is_file()]


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name in ("build", "dist", "__pycache__") or path.suffix == ".egg-info":
            continue
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


@pytest.fixture(scope="session")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment into which the wheel is installed. The dependencies are those of the running one: no network is needed."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    (wheel,) = built.glob("*.whl")
    install(folder, wheel)
    # A path in a .pth file is searched for modules, but its own .pth files are not read: an editable installation stays invisible.
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.fixture(scope="session")
def pip() -> Callable[[Path, Path], None]:
    """Installs a wheel or a source folder into an environment."""
    return install


def install(environment: Path, package: Path) -> None:
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    run(sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", *options, package)
