"""openai-python's own tests, against the gateway: fetched from PyPI when they run, nothing of them is kept here."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conformance.fetched import fetched, pip, sdist
from serving import serving

from tornado_gateway.testing import FakeOllama

VERSION = "3.54.0"
KEY = "My API Key"
"""Theirs, spaces included."""
ALIASES = {
    "gpt-6-astra": "llama3.2",
    "gpt-3.5-turbo-instruct": "qwen2.5-coder",
    "text-embedding-3-small": "nomic-embed-text",
}
RESOURCES = "tests/api_resources"
FILES = ("chat/test_completions.py", "test_completions.py", "test_embeddings.py", "test_models.py")
SELECTED = "create or ((TestModels or TestAsyncModels) and not delete)"


@pytest.fixture(scope="session")
def sdk() -> Path:
    """A folder with the SDK's tests (`source`) and what they import (`site`)."""

    def fetch(folder: Path) -> None:
        sdist(f"openai=={VERSION}", folder, "source")
        pip("install", "--target", folder / "site", f"openai[aiohttp]=={VERSION}", "httpx", "rich")

    return fetched(f"openai-python-{VERSION}-{sys.implementation.cache_tag}", fetch)


@pytest.mark.timeout(400)
async def test_the_sdks_own_tests_pass_but_for_those_that_refuse_base64_from_openai_too(sdk: Path, tmp_path: Path) -> None:
    """Its strict client takes no embedding in base64, though it asks for it unless told otherwise."""
    auth = {"auth": {"keys": [{"name": "sdk", "key": KEY}]}}
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[auth], models={"aliases": ALIASES}) as served:
        report, output = await run_tests(sdk, served.base_url, tmp_path / "report.xml")

    passed, failed = results(report)
    assert passed == {"chat.test_completions": 40, "test_completions": 40, "test_embeddings": 11, "test_models": 35}, output
    assert len(failed) == 9
    assert all("embedding" in name and ("strict" in name or "aiohttp" in name) for name in failed), output


async def run_tests(sdk: Path, base_url: str, report: Path) -> tuple[Path, str]:
    paths = [f"{RESOURCES}/{name}" for name in FILES]
    plain = [
        "-q",
        "-o",
        "addopts=",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "--tb=line",
        "--maxfail=20",
        f"--junit-xml={report}",
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", *plain, "-k", SELECTED, *paths,
        cwd=sdk / "source",
        env={**os.environ, "TEST_API_BASE_URL": base_url, "PYTHONPATH": str(sdk / "site"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return report, output.decode(errors="replace")[-4000:]


def results(report: Path) -> tuple[dict[str, int], list[str]]:
    """How many passed, by module, and the names of those that failed."""
    passed: Counter[str] = Counter()
    failed = []
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        if case.find("failure") is None and case.find("error") is None and case.find("skipped") is None:
            passed[name.removeprefix("tests.api_resources.").rpartition(".Test")[0]] += 1
        else:
            failed.append(name)
    return dict(passed), failed
