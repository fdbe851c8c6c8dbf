"""Where lines go: files that are rotated by size and number, and the process's own output."""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from tornado_gateway_logging_lines import Item, Line, json_line, line_of
from tornado_gateway_logging_requests import Ready

DIRECTORY_MODE = 0o750
FILE_MODE = 0o640


class LogFile:
    """A file of lines. When another tool has moved it away, or deleted it, the next line begins a new one.

    Rotated to `NAME.1`, `NAME.2`, … when the next line would make it longer than `max_bytes` (0: never).
    """

    def __init__(self, path: Path, max_bytes: int, backups: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._lines: deque[bytes] = deque()
        self._in_line = False
        self._descriptor = -1
        self._open()

    def add(self, line: str) -> None:
        self._lines.append(line.encode("ascii") + b"\n")

    def flush(self) -> None:
        """Write all lines. Raises OSError, and keeps what is not written."""
        if self._lines:
            self._follow()
        while self._lines:
            if self._is_full():
                self._rotate()
            self._write(self._take())

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self.close()
        self._path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, FILE_MODE)
        status = os.fstat(self._descriptor)
        self._size, self._identity = status.st_size, (status.st_dev, status.st_ino)

    def _follow(self) -> None:
        """Make sure that the open file is the one that stands at the path."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            self._open()
            return
        if self._descriptor < 0 or (there.st_dev, there.st_ino) != self._identity:
            self._open()
        self._size = os.fstat(self._descriptor).st_size  # another process may write here too, or have emptied it

    def _is_full(self) -> bool:
        return bool(self._max_bytes and self._size and not self._in_line and self._size + len(self._lines[0]) > self._max_bytes)

    def _rotate(self) -> None:
        # A folder in which files cannot be renamed any more is no reason to stop writing.
        with contextlib.suppress(OSError):
            if not self._backups:
                os.ftruncate(self._descriptor, 0)
                self._size = 0
                return
            for number in range(self._backups - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    self._numbered(number).replace(self._numbered(number + 1))
            self._path.replace(self._numbered(1))
            self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _take(self) -> bytes:
        """As many lines as fit, at least one."""
        taken, size = [self._lines.popleft()], self._size
        size += len(taken[0])
        while self._lines and (not self._max_bytes or size + len(self._lines[0]) <= self._max_bytes):
            taken.append(self._lines.popleft())
            size += len(taken[-1])
        return b"".join(taken)

    def _write(self, data: bytes) -> None:
        try:
            while data:
                written = os.write(self._descriptor, data)
                self._size += written
                self._in_line = written < len(data)
                data = data[written:]
        except OSError:
            self._lines.appendleft(data)
            raise


class Files:
    """`info.log` with everything, `error.log` with errors; both JSON lines."""

    def __init__(self, directory: Path, max_bytes: int, backups: int) -> None:
        self._all = LogFile(directory / "info.log", max_bytes, backups)
        self._errors = LogFile(directory / "error.log", max_bytes, backups)

    def add(self, item: Item | Ready) -> None:
        line = item.json if isinstance(item, Ready) else json_line(line_of(item))
        if line is None:
            return
        self._all.add(line)
        if item.level >= logging.ERROR:
            self._errors.add(line)

    def flush(self) -> None:
        try:
            self._all.flush()
        finally:
            self._errors.flush()

    def close(self) -> None:
        self._all.close()
        self._errors.close()


class Console:
    """Standard output or standard error. Whoever reads it may go away; then nothing more is written."""

    def __init__(self, stream: TextIO, render: Callable[[Line], str]) -> None:
        self._stream: TextIO | None = stream
        self._render = render
        self._text: list[str] = []
        self._bytes = b""

    def add(self, item: Item | Ready) -> None:
        text = item.console if isinstance(item, Ready) else self._render(line_of(item))
        if self._stream is not None and text is not None:
            self._text.append(text)

    def flush(self) -> None:
        if self._stream is None:
            return
        text, self._text = "".join(f"{line}\n" for line in self._text), []
        try:
            self._write(self._stream, text)
        except (BrokenPipeError, ValueError):  # ValueError: the stream has been closed
            self._stream = None

    def close(self) -> None:
        """Leaves the stream open: it is the process's."""

    def _write(self, stream: TextIO, text: str) -> None:
        # Past Python's buffer: a thread that waits for a stalled terminal while holding the buffer's lock would stop whoever
        # prints, and the end of the process.
        try:
            descriptor = stream.fileno()
        except OSError:
            stream.write(text)
            return
        self._bytes += text.encode("utf-8", "backslashreplace")
        while self._bytes:
            self._bytes = self._bytes[os.write(descriptor, self._bytes) :]
