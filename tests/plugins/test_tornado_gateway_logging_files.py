"""Files that rotate, follow and survive; output that may go away."""

import io
import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tornado_gateway_logging_files import Console, Files, LogFile
from tornado_gateway_logging_lines import Item

DEVICE_FULL = Path("/dev/full")
needs_full_device = pytest.mark.skipif(not DEVICE_FULL.exists(), reason="only Linux has a device that is always full")


def lines_in(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def write(file: LogFile, *lines: str) -> None:
    for line in lines:
        file.add(line)
    file.flush()


def event(level: int = logging.INFO, **facts: object) -> Item:
    return Item(level, ("event", 1790000000.0, level), facts)


def test_lines_are_added_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "info.log"
    for line in ("one", "two"):
        file = LogFile(path, 0, 0)
        write(file, line)
        file.close()

    assert lines_in(path) == ["one", "two"]


def test_files_and_folders_are_not_for_everybody(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        LogFile(tmp_path / "logs" / "info.log", 0, 0).close()
    finally:
        os.umask(before)

    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "logs" / "info.log").stat().st_mode & 0o777 == 0o640


def test_a_file_is_rotated_before_it_gets_too_long(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "info.log", 10, 2)

    write(file, "aaaa", "bbbb", "cccc", "dddd")
    write(file, "eeee", "ffff", "gggg")
    file.close()

    assert lines_in(tmp_path / "info.log") == ["gggg"]
    assert lines_in(tmp_path / "info.log.1") == ["eeee", "ffff"]
    assert lines_in(tmp_path / "info.log.2") == ["cccc", "dddd"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_line_that_is_longer_than_a_file_may_be_has_one_for_itself(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "info.log", 10, 5)

    write(file, "a", "b" * 50, "c")
    file.close()

    assert [lines_in(tmp_path / name) for name in ("info.log.2", "info.log.1", "info.log")] == [["a"], ["b" * 50], ["c"]]


def test_without_backups_a_full_file_begins_anew(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "info.log", 10, 0)

    write(file, "aaaa", "bbbb", "cccc")
    file.close()

    assert lines_in(tmp_path / "info.log") == ["cccc"]
    assert len(list(tmp_path.iterdir())) == 1


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(1, 19)), max_size=6), st.integers(20, 60))
def test_no_line_is_lost_or_cut_however_they_come(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[list[int]], most: int
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    file = LogFile(folder / "info.log", most, 100)
    for batch in sizes:
        write(file, *("x" * size for size in batch))
    file.close()

    names = sorted(folder.iterdir(), key=lambda path: -int(path.suffix[1:]) if path.suffix != ".log" else 1)
    assert [len(line) for path in names for line in lines_in(path)] == [size for batch in sizes for size in batch]
    assert all(path.stat().st_size <= most for path in names)


def test_a_file_that_was_moved_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "info.log"
    file = LogFile(path, 0, 0)
    write(file, "before")

    path.rename(tmp_path / "moved")
    write(file, "after")
    file.close()

    assert lines_in(tmp_path / "moved") == ["before"]
    assert lines_in(path) == ["after"]


def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "info.log"
    file = LogFile(path, 0, 0)

    path.unlink()
    path.parent.rmdir()
    write(file, "after")
    file.close()

    assert lines_in(path) == ["after"]


def test_a_file_that_was_emptied_counts_from_nothing(tmp_path: Path) -> None:
    path = tmp_path / "info.log"
    file = LogFile(path, 10, 1)
    write(file, "aaaa", "bbbb")

    path.write_text("")
    write(file, "cccc")
    file.close()

    assert lines_in(path) == ["cccc"]
    assert not (tmp_path / "info.log.1").exists()


def test_two_that_write_to_one_file_lose_nothing(tmp_path: Path) -> None:
    files = [LogFile(tmp_path / "info.log", 60, 100) for _ in range(2)]

    for number in range(40):
        write(files[number % 2], f"line {number:02}")
    for file in files:
        file.close()

    assert sorted(line for path in tmp_path.iterdir() for line in lines_in(path)) == [
        f"line {number:02}" for number in range(40)
    ]


@needs_full_device
def test_c52_what_a_full_disk_did_not_take_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "info.log"
    path.symlink_to(DEVICE_FULL)
    file = LogFile(path, 0, 0)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            write(file, "kept")

    path.unlink()
    file.flush()
    file.close()

    assert lines_in(path) == ["kept", "kept"]


@needs_full_device
def test_c52_a_full_disk_for_one_file_stops_not_the_other(tmp_path: Path) -> None:
    (tmp_path / "info.log").symlink_to(DEVICE_FULL)
    files = Files(tmp_path, 0, 0)

    files.add(event(logging.ERROR))
    with pytest.raises(OSError, match="No space left"):
        files.flush()
    files.close()

    assert len(lines_in(tmp_path / "error.log")) == 1


def test_everything_is_in_info_and_errors_are_in_error_too(tmp_path: Path) -> None:
    files = Files(tmp_path, 0, 0)

    for level in (logging.INFO, logging.WARNING, logging.ERROR):
        files.add(event(level))
    files.flush()
    files.close()

    written = {name: [json.loads(line)["level"] for line in lines_in(tmp_path / name)] for name in ("info.log", "error.log")}
    assert written == {"info.log": ["INFO", "WARNING", "ERROR"], "error.log": ["ERROR"]}


def test_c52_a_reader_that_went_away_is_not_written_to_any_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:  # noqa: PTH123  # a descriptor has no path
        console = Console(stream, lambda line: str(line["event"]))

        for _ in range(2):
            console.add(event())
            console.flush()


def test_output_without_a_descriptor_will_do() -> None:
    stream = io.StringIO()
    console = Console(stream, lambda line: str(line["event"]))

    console.add(event())
    console.flush()
    stream.close()
    console.add(event())
    console.flush()


def test_output_is_written_past_the_buffer(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as stream:
        console = Console(stream, lambda line: f"{line['event']} ü")

        console.add(event())
        console.flush()

        assert (tmp_path / "out").read_text("utf-8") == "event ü\n"
