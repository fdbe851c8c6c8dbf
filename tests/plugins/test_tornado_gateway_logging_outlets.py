"""Files and console as one."""

import asyncio
import json
import logging
import sys
import threading
from pathlib import Path

import pytest

from tornado_gateway_logging_lines import REQUEST_FIELDS, Item
from tornado_gateway_logging_outlets import MADE_AT_ONCE, Outlets
from tornado_gateway_logging_requests import Ready

EVENT = Item(logging.ERROR, ("said", 1790000000.0, logging.ERROR), {"n": 1})
REQUEST = Item(logging.INFO, ("request", 1790000000.0, logging.INFO, "an id", *[None] * (len(REQUEST_FIELDS) - 4)))


class Made:
    """Outlets whose lines are seen when they are made."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.two = asyncio.Event()
        self.outlets = Outlets(make=self.make)

    def make(self, item: Item) -> Item | Ready:
        self.items.append(item)
        if len(self.items) == 2:
            self.two.set()
        return item


def write(outlets: Outlets, *, files: bool = True, console: bool = True) -> None:
    outlets.put(EVENT, files, console)
    asyncio.run(outlets.close(5.0))


def test_a_line_goes_to_files_and_console(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(Outlets.open(tmp_path, "auto", 0, 0))

    assert json.loads((tmp_path / "info.log").read_text())["n"] == 1
    assert "said" in capfd.readouterr().err


async def test_the_lines_of_requests_are_made_together_after_a_moment() -> None:
    made = Made()

    made.outlets.put(REQUEST)
    made.outlets.put(REQUEST)
    before = list(made.items)
    await asyncio.wait_for(made.two.wait(), 5)

    assert before == []


async def test_no_more_than_so_many_wait_to_be_made() -> None:
    made = Made()

    for _ in range(MADE_AT_ONCE + 1):
        made.outlets.put(REQUEST)

    assert len(made.items) == MADE_AT_ONCE


async def test_an_event_comes_behind_the_requests_that_were_there_before() -> None:
    made = Made()

    made.outlets.put(REQUEST)
    await asyncio.to_thread(made.outlets.put, EVENT)

    assert made.items == [REQUEST, EVENT]


async def test_what_is_not_made_yet_is_written_at_the_end(tmp_path: Path) -> None:
    outlets = Outlets.open(tmp_path, "off", 0, 0)

    outlets.put(REQUEST)
    await outlets.close(5.0)

    assert json.loads((tmp_path / "info.log").read_text())["request_id"] == "an id"


async def test_at_the_end_lines_are_made_by_the_loop_and_the_timer_makes_no_more() -> None:
    made, where = Made(), list[int]()

    def make(item: Item) -> Item | Ready:
        where.append(threading.get_ident())
        return item

    made.outlets.make = make

    made.outlets.put(REQUEST)
    await made.outlets.close(5.0)

    assert where == [threading.get_ident()]
    assert (timer := made.outlets._timer) is not None
    assert timer.cancelled()


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
    asyncio.run(outlets.close(5.0))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_c52_the_console_says_that_the_files_cannot_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "info.log").symlink_to("/dev/full")

    write(Outlets.open(tmp_path, "auto", 0, 0))

    assert "log_not_written" in (said := capfd.readouterr().err)
    assert "No space left on device" in said
