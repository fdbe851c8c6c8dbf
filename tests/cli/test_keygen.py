import hashlib
from pathlib import Path

import pytest
import yaml

from tornado_gateway.cli import run
from tornado_gateway.cli.keygen import quoted
from tornado_gateway.discovery import plugin_settings
from tornado_gateway.loading import load_settings


def test_the_line_lets_the_key_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pasted as printed into a configuration, the digest is that of the key, and auth takes it."""
    assert run(["keygen", "--name", "Jörg's phone: ${HOME}"]) == 0

    lines = capsys.readouterr().out.splitlines()
    (key,) = [line.strip() for line in lines if line.startswith("  tg_")]
    pasted = "\n".join("      " + line for line in lines[lines.index("For config.yaml, below the `keys:` of `auth`:") + 2 :])
    (tmp_path / "config.yaml").write_text(f"plugins:\n  - auth:\n      keys:\n{pasted}\n", "utf-8")
    own = plugin_settings(load_settings(tmp_path / "config.yaml", environ={"HOME": "x"}))["auth"].model_dump()
    assert own["keys"][0]["name"] == "Jörg's phone: ${HOME}"
    assert own["keys"][0]["sha256"] == hashlib.sha256(key.encode()).hexdigest()


@pytest.mark.parametrize("name", ["default", "on", "null", "7", "a: b", '"', "- x", "#", "a-b_c", "*x", "ü"])
def test_any_name_is_quoted_so_that_yaml_reads_it_as_text(name: str) -> None:
    assert yaml.safe_load(f"- name: {quoted(name)}") == [{"name": name}]
