from pathlib import Path

import pytest

from tornado_gateway.cli import program, run
from tornado_gateway.cli.extra import plugin_commands

Capture = pytest.CaptureFixture[str]

PLUGIN = '''
import click
from pydantic import BaseModel
from tornado_gateway.hookspecs import hookimpl

@click.command("greet")
def greet():
    """Say hello."""
    click.echo("hello")

@click.command("serve")
def serve():
    click.echo("never")

class Plugin:
    """Greets."""

    class Settings(BaseModel):
        fail: bool = False

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def commands(self):
        if self.settings.fail:
            raise ValueError("no words")
        return [greet, serve]
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, on the path of modules, with an installed plugin that is on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(program, "_extra", None)
    monkeypatch.delenv("TORNADO_GATEWAY_CONFIG", raising=False)
    (tmp_path / "greeting_plugin.py").write_text(PLUGIN)
    info = tmp_path / "greeting-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[tornado_gateway]\ngreeting = greeting_plugin:Plugin\n")
    (tmp_path / "config.yaml").write_text("plugins: [greeting]")
    return tmp_path


def test_hook_commands_adds_commands(folder: Path, capsys: Capture) -> None:
    assert run(["greet"]) == 0
    assert capsys.readouterr().out == "hello\n"


def test_the_help_screen_shows_them_behind_our_own(folder: Path, capsys: Capture) -> None:
    assert run(["--help"]) == 0

    out = capsys.readouterr().out
    assert out.index("keygen ") < out.index("greet ")
    assert out.count("  serve ") == 1


def test_a_plugin_that_cannot_say_is_reported_in_one_line(folder: Path, capsys: Capture) -> None:
    (folder / "config.yaml").write_text("plugins: [{greeting: {fail: true}}]")

    assert plugin_commands() == {}
    assert (
        capsys.readouterr().err == "tornado-gateway: plugin greeting cannot say which commands it has: ValueError: no words\n"
    )


def test_a_wrong_configuration_is_no_reason_to_lose_our_own(folder: Path, capsys: Capture) -> None:
    (folder / "config.yaml").write_text("plugins: [nope]")

    assert run(["--help"]) == 0
    written = capsys.readouterr()
    assert "serve" in written.out
    assert "the configuration is wrong" in written.err
