import json
from pathlib import Path

import pytest
import yaml

from tornado_gateway.cli import run

Capture = pytest.CaptureFixture[str]


def test_the_effective_configuration_is_yaml_that_loads_again(tmp_path: Path, capsys: Capture) -> None:
    first = tmp_path / "first.yaml"
    first.write_text("server: {port: 1, body_seconds: 2.5}\nplugins: [cache]\n")
    assert run(["config", "-c", str(first)]) == 0
    shown = capsys.readouterr().out
    second = tmp_path / "second.yaml"
    second.write_text(shown)

    assert run(["config", "-c", str(second)]) == 0

    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(shown)
    assert yaml.safe_load(shown)["server"]["port"] == 1


def test_no_secret_is_shown(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("upstream: {headers: {Authorization: canary}}\nplugins: [{auth: {keys: [{name: a, key: canary}]}}]")

    assert run(["config", "-c", str(file)]) == 0

    written = capsys.readouterr()
    assert "canary" not in written.out + written.err
    assert "**********" in written.out


def test_the_schema_is_json(capsys: Capture) -> None:
    assert run(["config", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"
