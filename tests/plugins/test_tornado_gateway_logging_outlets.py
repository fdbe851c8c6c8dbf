"""Files and console as one."""

import json
import logging
import sys
from pathlib import Path

import pytest

from tornado_gateway_logging_lines import Item
from tornado_gateway_logging_outlets import Outlets

EVENT = Item(logging.ERROR, ("said", 1790000000.0, logging.ERROR), {"n": 1})


def write(outlets: Outlets, *, files: bool = True, console: bool = True) -> None:
    outlets.put(EVENT, files, console)
    outlets.close(5.0)


def test_a_line_goes_to_files_and_console(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(Outlets.open(tmp_path, "auto", 0, 0))

    assert json.loads((tmp_path / "info.log").read_text())["n"] == 1
    assert "said" in capfd.readouterr().err


def test_a_line_may_be_for_one_of_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(Outlets.open(tmp_path, "human", 0, 0), files=False)
    assert "said" in capfd.readouterr().err

    write(Outlets.open(tmp_path, "human", 0, 0), console=False)
    assert capfd.readouterr().err == ""
    assert len((tmp_path / "info.log").read_text().splitlines()) == 1


def test_containers_get_json_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    write(Outlets.open(None, "json", 0, 0))

    out, err = capfd.readouterr()
    assert json.loads(out)["event"] == "said"
    assert err == ""


def test_nothing_wanted_is_nothing_written(capfd: pytest.CaptureFixture[str]) -> None:
    write(Outlets.open(None, "off", 0, 0))
    write(Outlets())

    assert capfd.readouterr() == ("", "")


def test_a_process_without_standard_error_has_no_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)

    outlets = Outlets.open(tmp_path, "auto", 0, 0)

    assert outlets.console is None
    outlets.close(5.0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_c52_the_console_says_that_the_files_cannot_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "info.log").symlink_to("/dev/full")

    write(Outlets.open(tmp_path, "auto", 0, 0))

    assert "log_not_written" in (said := capfd.readouterr().err)
    assert "No space left on device" in said
