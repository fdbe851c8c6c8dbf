"""The `openai` package for Node against the gateway: the suite in `node/`, run by Node's own test runner."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conformance.fetched import fetched, run
from serving import KEY, serving

from tornado_gateway.testing import FakeModel, FakeOllama

SUITE = Path(__file__).parent / "node"
LISTS = ("package.json", "package-lock.json")
NODE = 20


@pytest.fixture(scope="session")
def packages() -> Path:
    """A folder with `node_modules` as the lock file says."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node on this machine")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").partition(".")[0]) < NODE:
        pytest.skip(f"Node {NODE} or newer is needed; this is {version.strip()}")
    lock = hashlib.sha256(b"".join((SUITE / name).read_bytes() for name in LISTS)).hexdigest()[:12]

    def fetch(folder: Path) -> None:
        for name in LISTS:
            shutil.copy(SUITE / name, folder)
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", folder=folder)

    return fetched(f"openai-node-{lock}", fetch)


@pytest.mark.timeout(300)
async def test_the_smoke_suite_of_the_node_package_passes(packages: Path, tmp_path: Path) -> None:
    shutil.copy(SUITE / "gateway.test.js", tmp_path)
    shutil.copy(SUITE / "package.json", tmp_path)
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    async with FakeOllama(control=True) as ollama, serving(ollama.url) as served:
        ollama.add_model(FakeModel("ada/poet:7b"))
        process = await asyncio.create_subprocess_exec(
            "node", "--test", "--test-reporter=tap",
            cwd=tmp_path,
            env={**os.environ, "BASE_URL": served.base_url, "API_KEY": KEY, "OLLAMA": ollama.url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output = (await process.communicate())[0].decode(errors="replace")

    assert process.returncode == 0, output
    assert "# fail 0" in output
    assert "# skipped 0" in output
