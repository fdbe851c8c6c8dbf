from pathlib import Path

import pytest

from tornado_gateway.cli import run
from tornado_gateway.cli.new_plugin import names_of

Capture = pytest.CaptureFixture[str]


def test_a_package_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)

    assert run(["new-plugin", "quiet-hours"]) == 0

    folder = tmp_path / "tornado-gateway-quiet-hours"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        ".gitignore",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "setup.py",
        "tests/test_tornado_gateway_quiet_hours.py",
        "tornado_gateway_quiet_hours.py",
    }
    assert "quiet_hours = tornado_gateway_quiet_hours:QuietHours" in (folder / "setup.py").read_text()
    assert "- quiet_hours: {}" in capsys.readouterr().out


def test_nothing_is_overwritten(tmp_path: Path, capsys: Capture) -> None:
    mine = tmp_path / "tornado-gateway-quiet" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")

    assert run(["new-plugin", "quiet", "--directory", str(tmp_path)]) == 1

    assert "nothing was written" in capsys.readouterr().err
    assert [path.name for path in mine.parent.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_told_in_a_line(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("")

    assert run(["new-plugin", "quiet", "--directory", str(tmp_path / "file" / "below")]) in (1, 2)
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("name", ["Quiet", "a b", "3x", "-x", "x-", "a--b", "", "a/b", "../x", "ä", "x" * 41, "quiet\n"])
def test_a_name_that_would_be_no_good_one_is_refused(name: str, tmp_path: Path, capsys: Capture) -> None:
    assert run(["new-plugin", "--directory", str(tmp_path), "--", name]) == 2

    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_refused_name_comes_with_one_that_would_do(tmp_path: Path, capsys: Capture) -> None:
    run(["new-plugin", "Quiet Hours!", "--directory", str(tmp_path)])

    assert "such as quiet-hours" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["auth", "rate-limit", "auth-keys"])
def test_a_name_that_is_taken_is_refused(name: str, tmp_path: Path, capsys: Capture) -> None:
    assert run(["new-plugin", name, "--directory", str(tmp_path)]) == 2
    assert "already" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["quiet", "tornado-gateway-quiet"])
def test_the_prefix_may_be_given_or_not(given: str) -> None:
    assert names_of(given)["distribution"] == "tornado-gateway-quiet"


@pytest.mark.parametrize(("name", "cls"), [("none", "NonePlugin"), ("context", "ContextPlugin"), ("base-2", "Base2")])
def test_the_class_is_named_so_that_python_takes_it(name: str, cls: str) -> None:
    assert names_of(name)["cls"] == cls
