from pathlib import Path

import pytest

from tornado_gateway.cli import run
from tornado_gateway.cli.measure import ROUNDS, measured
from tornado_gateway.config import Settings

Capture = pytest.CaptureFixture[str]


async def test_issue_6_every_hook_of_a_request_is_measured(tmp_path: Path) -> None:
    plugins = [{"logging": {"directory": str(tmp_path), "console": "off"}}, "auth", "rate_limit", "cache"]

    times = await measured(Settings.model_validate({"plugins": plugins}))

    assert times["auth.authenticate"]["calls"] == ROUNDS
    assert {"rate_limit.admit", "rate_limit.dispatch", "cache.answer", "cache.answered", "logging.finished"} <= set(times)
    assert all(spent["failures"] == 0 for spent in times.values())


def test_issue_6_plugins_shows_the_time_spent_per_hook(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("plugins: [rate_limit, cache]")

    assert run(["plugins", "--measure", "-c", str(file)]) == 0

    written = capsys.readouterr()
    assert written.err == ""
    shown = [line for line in written.out.splitlines() if line.startswith("  time per call: ")]
    assert len(shown) == 2
    assert "admit " in shown[0]
    assert " µs (longest stretch " in shown[0]


def test_without_measuring_the_way_to_it_is_shown(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("plugins: []")

    assert run(["plugins", "-c", str(file)]) == 0
    assert "plugins --measure" in capsys.readouterr().out
