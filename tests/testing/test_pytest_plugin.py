"""The fixtures that every suite has where tornado-gateway is installed."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tornado_gateway.testing import GatewayThread, OllamaThread, say

Start = Callable[..., GatewayThread]


def test_issue_6_gateway_and_fake_ollama_serve_a_test_without_a_loop(gateway: Start, fake_ollama: OllamaThread) -> None:
    fake_ollama.next(say("Hello!"))

    served = gateway()

    assert served.chat("Hi").text == "Hello!"
    assert fake_ollama.ledger.last


async def test_issue_6_and_one_with_a_loop(gateway: Start, fake_ollama: OllamaThread) -> None:
    fake_ollama.next(say("Hello!"))

    assert gateway(plugins=["cache"]).chat("Hi").headers["x-cache"] == "miss"


def test_one_test_may_have_several_gateways(gateway: Start) -> None:
    one, two = gateway(), gateway(plugins=["auth"])

    assert one.url != two.url
    assert (one.get("/v1/models").status, two.get("/v1/models").status) == (200, 401)


def test_a_suite_that_uses_neither_pays_for_neither() -> None:
    """Nor is anything imported before a tool that measures coverage can look."""
    code = "import sys, tornado_gateway.testing.pytest_plugin as p; print([m for m in sys.modules if m.startswith('tornado')])"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "tornado.web" not in out
    assert "tornado_gateway.app" not in out


def test_a_strangers_strict_suite_runs_with_them(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "def test_it(gateway):\n    assert gateway().get('/healthz').status == 200\n"
        "import pytest\n@pytest.mark.xfail(strict=True)\ndef test_wrong(gateway):\n    gateway(plugins=['nope'])\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "--strict-markers", "-p", "no:asyncio", "-p", "no:cacheprovider", tmp_path],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def test_pytest_is_needed_by_the_fixtures_only() -> None:
    code = "import sys; sys.modules['pytest'] = None; import tornado_gateway.testing as t; t.GatewayThread; t.FakeOllama"

    subprocess.run([sys.executable, "-c", code], check=True)


def test_pytest_lists_them_with_what_they_are(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--fixtures", "-q", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert "\nfake_ollama -- " in done.stdout
    assert "\ngateway -- " in done.stdout


def test_the_page_about_testing_shows_a_test_that_passes(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text("utf-8")
    (shown,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "gateway, fake_ollama" in block]
    (tmp_path / "test_shown.py").write_text(shown)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider", tmp_path],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert "1 passed" in done.stdout, done.stdout + done.stderr
