# ruff: noqa: ASYNC240  # the small files of a test
"""Entries in an SQLite file: they outlive a restart, and a file that cannot be used costs a warning."""

import asyncio
import logging
import sqlite3
import stat
import threading
from functools import partial
from pathlib import Path

import pytest

from tornado_gateway_cache_entries import Bounds
from tornado_gateway_cache_file import File

BOUNDS = Bounds(60.0, 1_000_000, 100, 100_000)


class Wall:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "cache.sqlite"


def _hold(begun: threading.Event, held: threading.Event) -> None:
    begun.set()
    held.wait(10)


async def write(path: Path, wall: Wall, *keys: bytes, bounds: Bounds = BOUNDS, data: bytes = b"data") -> None:
    file = File(path, bounds, wall)
    await file.open()
    for key in keys:
        file.save(key, data)
    await file.close()


async def read(path: Path, wall: Wall, bounds: Bounds = BOUNDS) -> list[tuple[bytes, float, bytes]]:
    file = File(path, bounds, wall)
    try:
        return await file.open()
    finally:
        await file.close()


async def test_entries_come_back_with_their_age(path: Path) -> None:
    wall = Wall()
    await write(path, wall, b"a")
    wall.now += 10
    await write(path, wall, b"b")
    wall.now += 10

    assert await read(path, wall) == [(b"a", 20.0, b"data"), (b"b", 10.0, b"data")]


async def test_entries_whose_time_is_over_do_not_come_back(path: Path) -> None:
    wall = Wall()
    await write(path, wall, b"a")

    wall.now += 60

    assert await read(path, wall) == []


async def test_what_memory_lets_go_the_file_lets_go(path: Path) -> None:
    wall = Wall()
    file = File(path, BOUNDS, wall)
    await file.open()
    file.save(b"a", b"1")
    file.save(b"b", b"2")
    file.delete([b"a"])
    await file.close()

    assert [key for key, _, _ in await read(path, wall)] == [b"b"]


async def test_an_entry_that_comes_back_after_it_was_let_go_stays(path: Path) -> None:
    wall = Wall()
    file = File(path, BOUNDS, wall)
    await file.open()
    file.save(b"a", b"1")
    file.delete([b"a"])
    file.save(b"a", b"2")
    await file.close()

    assert [data for _, _, data in await read(path, wall)] == [b"2"]


async def test_the_newest_are_read_when_the_bounds_have_shrunk_and_the_others_are_deleted(path: Path) -> None:
    wall = Wall()
    for key in (b"a", b"b", b"c"):
        await write(path, wall, key)
        wall.now += 1

    assert [key for key, _, _ in await read(path, wall, Bounds(60, 1_000_000, 2, 1000))] == [b"b", b"c"]
    assert [key for key, _, _ in await read(path, wall)] == [b"b", b"c"]


async def test_answers_are_for_their_owners_eyes(path: Path) -> None:
    await write(path, Wall(), b"a")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_the_loop_never_waits_for_the_disk(path: Path) -> None:
    """All of SQLite happens in one other thread."""
    file = File(path, Bounds(60.0, 100_000_000, 100, 20_000_000), Wall())
    await file.open()
    begun, held = threading.Event(), threading.Event()
    blocker = asyncio.get_running_loop().run_in_executor(file._thread, partial(_hold, begun, held))
    await asyncio.to_thread(begun.wait, 10)

    file.save(b"a", b"1")  # returns although the thread is busy
    file.save(b"b", b"x" * 16 * 1024 * 1024)
    file.save(b"c", b"x" * 16 * 1024 * 1024)

    held.set()
    await blocker
    await file.close()
    assert file.unwritten == 1  # what waits is bounded: the last was one too many


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to look like something" * 100, b"SQLite format 3\x00" + b"\xff" * 4000]
)
async def test_a_broken_file_is_put_aside_and_an_empty_one_begun(
    path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    assert await read(path, Wall()) == []
    await write(path, Wall(), b"a")

    assert [record.getMessage() for record in caplog.records] == ["cache_file_broken"]
    assert path.with_name("cache.sqlite.broken").read_bytes() == content
    assert len(await read(path, Wall())) == 1


async def test_another_programs_database_is_never_touched(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE entries (precious TEXT)")
    database.close()
    before = path.read_bytes()

    await write(path, Wall(), b"a")

    assert path.read_bytes() == before
    assert caplog.records[0].getMessage() == "cache_file_not_ours"


async def test_entries_of_another_schema_are_not_read(path: Path) -> None:
    await write(path, Wall(), b"a")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()

    assert await read(path, Wall()) == []
    await write(path, Wall(), b"b")
    assert len(await read(path, Wall())) == 1


async def test_a_file_that_cannot_be_opened_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()

    assert await read(tmp_path / "file" / "cache.sqlite", Wall()) == []
    assert await read(tmp_path, Wall()) == []

    assert [record.getMessage() for record in caplog.records] == ["cache_file_not_opened"] * 2
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


async def test_a_file_that_cannot_be_written_costs_a_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = File(path, BOUNDS, Wall())
    await file.open()
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")

    file.save(b"a", b"1")
    await file.close()
    other.close()

    assert [record.getMessage() for record in caplog.records] == ["cache_file_not_written"]
    assert file.unwritten == 1


async def test_the_file_is_bounded_whatever_happens(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = File(path, Bounds(60.0, 1_000_000, 100, 100_000), Wall())
    await file.open()
    for number in range(60):
        file.save(b"%d" % number, b"x" * 100_000)  # memory would have let go; here nothing is ever deleted
    await file.close()

    assert path.stat().st_size < 2_500_000
    assert file.unwritten
    assert caplog.records


async def test_new_bounds_count_for_the_file_too(path: Path) -> None:
    file = File(path, Bounds(60.0, 100_000, 100, 100_000), Wall())
    await file.open()

    await file.resize(Bounds(60.0, 10_000_000, 100, 100_000))
    for number in range(20):
        file.save(b"%d" % number, b"x" * 100_000)
    await file.close()

    assert file.unwritten == 0
    assert path.stat().st_size > 2_000_000


async def test_what_is_let_go_is_deleted_also_where_there_is_no_room_for_more(path: Path) -> None:
    bounds = Bounds(60.0, 100_000, 100, 10_000_000)
    await write(path, Wall(), b"old", bounds=bounds)
    file = File(path, bounds, Wall())
    await file.open()

    file.delete([b"old"])
    file.save(b"new", b"x" * 5_000_000)
    await file.close()

    assert file.unwritten == 1
    assert await read(path, Wall(), bounds) == []
