from pathlib import Path

import pytest

from tornado_gateway.cli import run
from tornado_gateway.cli.plugins import rows
from tornado_gateway.discovery import available

Capture = pytest.CaptureFixture[str]


def test_plugins_are_shown_in_the_order_of_their_calls_then_those_that_are_off() -> None:
    shown = rows(available(), ["cache", "auth"])

    assert [(row.name, row.place) for row in shown] == [("cache", 1), ("auth", 2), ("logging", None), ("rate_limit", None)]


def test_a_row_tells_package_hooks_and_settings_with_defaults() -> None:
    (row,) = [row for row in rows(available(), []) if row.name == "rate_limit"]

    assert row.package.startswith("tornado-gateway ")
    assert "admit" in row.hooks
    assert "requests_per_minute=60" in row.settings
    assert row.doc


def test_every_plugin_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("plugins: [auth]")

    assert run(["plugins"]) == 0

    out = capsys.readouterr().out
    assert "auth  tornado-gateway 0.1.0  on, 1." in out
    assert "cache  tornado-gateway 0.1.0  off" in out
    assert "\n  hooks: " in out
    assert "\n  settings: keys=[]" in out


def test_a_wrong_configuration_hides_no_plugin(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("plugins: [nope]")

    assert run(["plugins", "-c", str(file)]) == 2

    written = capsys.readouterr()
    assert "cache  tornado-gateway 0.1.0  ?" in written.out
    assert "nope: is not installed" in written.err


def test_the_mean_of_a_call_stands_beside_the_longest_of_its_stretches() -> None:
    """A call that waits has more than one: the mean may be over the longest, and that is no contradiction."""
    times = {"cache.startup": {"calls": 2, "failures": 1, "ms": 1.382, "longest_ms": 0.6164}}

    (row,) = [row for row in rows(available(), ["cache"], times) if row.name == "cache"]

    assert row.times == ("startup 691.0 µs (longest stretch 616.4, 1 of 2 failed)",)
