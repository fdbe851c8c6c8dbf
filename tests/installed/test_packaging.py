import re
import subprocess
import tarfile
import zipfile
from email import message_from_string
from http.client import HTTPConnection
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BUNDLED = {"auth", "rate_limit", "cache", "logging"}


@pytest.fixture(scope="module")
def in_wheel(built: Path) -> set[str]:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def in_sdist(built: Path) -> set[str]:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def modules(names: set[str]) -> set[str]:
    kept = (
        name.removeprefix("plugins/") for name in names if name.startswith(("tornado_gateway/", "tornado_gateway_", "plugins/"))
    )
    return {name for name in kept if name.endswith((".py", "py.typed"))}


def test_wheel_and_sdist_hold_the_same_modules(in_wheel: set[str], in_sdist: set[str]) -> None:
    assert modules(in_wheel) == modules(in_sdist)
    assert {"tornado_gateway/py.typed", "tornado_gateway/cli/serve.py", "tornado_gateway_auth.py"} <= modules(in_wheel)


def test_the_wheel_holds_nothing_else(in_wheel: set[str]) -> None:
    assert in_wheel == modules(in_wheel)


def test_the_sdist_holds_what_a_packager_needs(in_sdist: set[str]) -> None:
    assert {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "config.yaml",
        "Makefile",
        "tests/test_house.py",
        "setup.py",
        "pyproject.toml",
    } <= in_sdist


def test_the_metadata_tells_what_it_is(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = message_from_string(archive.read(name).decode())

    assert metadata["Name"] == "tornado-gateway"
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata.get_all("Provides-Extra") or []) == {"speed", "test", "dev"}
    assert "make demo" in str(metadata.get_payload())


def test_all_bundled_plugins_are_seen_in_an_empty_environment(environment: Path, tmp_path: Path) -> None:
    program = environment / "bin" / "tornado-gateway"

    done = subprocess.run([program, "plugins"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert {line.split()[0] for line in done.stdout.splitlines() if "  on, " in line} == BUNDLED
    where = subprocess.run(
        [environment / "bin" / "python", "-c", "import tornado_gateway_auth as a, tornado_gateway as g; print(a.__file__, g.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert all(path.startswith(str(environment)) for path in where)


def test_the_gateway_serves_in_an_empty_environment(environment: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [
        environment / "bin" / "tornado-gateway",
        "serve",
        "--port",
        "0",
        "--upstream",
        "http://127.0.0.1:9",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            port = int(server.stdout.readline().rpartition(":")[2])
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/healthz")

            assert connection.getresponse().status == 200
            connection.close()
        finally:
            server.terminate()
            server.communicate(timeout=20)
    assert server.returncode == 0


def test_the_lock_names_all_that_an_installation_needs(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        needed = message_from_string(archive.read(name).decode()).get_all("Requires-Dist", [])
    locked = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line}

    installed = {re.split(r"[^\w-]", line)[0].lower() for line in needed if "extra ==" not in line or '"speed"' in line}
    assert installed
    assert installed <= locked
