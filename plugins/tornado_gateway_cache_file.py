"""Entries of the cache in an SQLite file, so that they outlive a restart.

Memory answers every look-up; the file only follows, written by one thread, in batches, never waited for by a request. A file
that cannot be used costs a warning, not the start.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tornado_gateway_cache_entries import OVERHEAD, SCHEMA, Bounds

_APPLICATION = 0x54474341
"""Marks the file as ours (SQLite's `application_id`): another program's database is never touched."""

_MAX_PENDING = 16 * 1024 * 1024
"""Bytes that may wait for a slow disk; what comes on top stays in memory only."""

_log = logging.getLogger("tornado_gateway.plugins.cache")

Row = tuple[bytes, float, bytes]
"""A key, the age of its entry in seconds, and the entry's bytes."""


class NotOurs(Exception):
    """The file is a database of something else."""


class File:
    """One file. `wall` is the time of day in seconds: unlike a monotonic clock it goes on while the program is down."""

    def __init__(self, path: Path, bounds: Bounds, wall: Callable[[], float] = time.time) -> None:
        self.unwritten = 0
        """Entries that were not written: the disk was too slow, too full or gone."""
        self._path = path.expanduser()
        self._bounds = bounds
        self._wall = wall
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tornado-gateway-cache-file")
        self._database: sqlite3.Connection | None = None
        self._saves: dict[bytes, tuple[float, bytes]] = {}
        self._deletes: set[bytes] = set()
        self._pending = 0
        self._writing: asyncio.Future[None] | None = None

    async def open(self) -> list[Row]:
        """What the file holds, the newest last; nothing when it cannot be used."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def resize(self, bounds: Bounds) -> None:
        """Take new bounds for what is written from now on."""
        self._bounds = bounds
        await asyncio.get_running_loop().run_in_executor(self._thread, self._limit)

    def save(self, key: bytes, data: bytes) -> None:
        if self._database is None or self._pending + len(data) > _MAX_PENDING:
            self.unwritten += 1
            return
        self._pending += len(data)
        self._deletes.discard(key)
        self._saves[key] = (self._wall(), data)
        self._start_writing()

    def delete(self, keys: Iterable[bytes]) -> None:
        if self._database is None:
            return
        for key in keys:
            self._saves.pop(key, None)
            self._deletes.add(key)
        self._start_writing()

    async def close(self) -> None:
        """Write what is pending and close."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _start_writing(self) -> None:
        if self._writing is None and (self._saves or self._deletes):
            saves, deletes = self._saves, self._deletes
            self._saves, self._deletes, self._pending = {}, set(), 0
            self._writing = asyncio.get_running_loop().run_in_executor(self._thread, self._write, saves, deletes)
            self._writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[None]) -> None:
        self._writing = None
        if not writing.cancelled() and writing.exception() is not None:
            _warn("cache_file_not_written", self._path, writing.exception())
        self._start_writing()

    # Everything below runs in the thread.

    def _open(self) -> list[Row]:
        try:
            return self._load()
        except NotOurs as error:
            self._give_up("cache_file_not_ours", error)
        except (OSError, sqlite3.OperationalError) as error:  # locked, no right to it, no such folder
            self._give_up("cache_file_not_opened", error)
        except sqlite3.DatabaseError as error:
            self._give_up("cache_file_broken", error)
            return self._start_anew()
        return []

    def _start_anew(self) -> list[Row]:
        """The broken file is put aside, not deleted: someone may want to know what happened to it."""
        try:
            if self._path.stat().st_size:
                self._path.replace(self._path.with_name(self._path.name + ".broken"))
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            return self._load()
        except (OSError, NotOurs, sqlite3.Error) as error:
            self._give_up("cache_file_not_opened", error)
            return []

    def _give_up(self, event: str, error: Exception) -> None:
        self._close()
        _warn(event, self._path, error)

    def _load(self) -> list[Row]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)  # answers are as private as the prompts that led to them
        # Writes come from one thread at a time, so sqlite3's own check, which would forbid closing after a failed start, can rest.
        self._database = database = sqlite3.connect(self._path, timeout=1.0, check_same_thread=False, isolation_level=None)
        self._prepare(database)
        now = self._wall()
        database.execute("DELETE FROM entries WHERE stored <= ?", (now - self._bounds.seconds,))
        return self._newest(database, now)

    def _prepare(self, database: sqlite3.Connection) -> None:
        ours = database.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and not ours:
            raise NotOurs("it is a database of another program")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA journal_size_limit = 4194304")
        if database.execute("PRAGMA user_version").fetchone()[0] != SCHEMA:
            database.execute("DROP TABLE IF EXISTS entries")
        database.execute("CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, stored REAL NOT NULL, data BLOB NOT NULL)")
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {SCHEMA}")
        self._limit()

    def _limit(self) -> None:
        """The wall behind the bounds: whatever happens, the file stays within twice what memory may hold."""
        database = self._database
        if database is not None:
            page = database.execute("PRAGMA page_size").fetchone()[0]
            database.execute(f"PRAGMA max_page_count = {2 * self._bounds.bytes // page + 64}")

    def _newest(self, database: sqlite3.Connection, now: float) -> list[Row]:
        rows: list[Row] = []
        room = self._bounds.bytes
        for key, stored, data in database.execute("SELECT key, stored, data FROM entries ORDER BY stored DESC"):
            room -= len(data) + OVERHEAD
            if room < 0 or len(rows) >= self._bounds.entries:
                database.execute(
                    "DELETE FROM entries WHERE stored <= ? AND key NOT IN (SELECT key FROM entries WHERE stored > ?)",
                    (stored, stored),
                )
                break
            rows.append((key, max(0.0, now - stored), data))
        return rows[::-1]

    def _write(self, saves: dict[bytes, tuple[float, bytes]], deletes: set[bytes]) -> None:
        database = self._database
        if database is None:
            return
        try:
            # Deletes by themselves: they make room, and must not be undone where there is too little for what comes.
            with database:
                database.execute("BEGIN")
                database.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in deletes])
            with database:
                database.execute("BEGIN")
                database.executemany(
                    "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", [(key, *entry) for key, entry in saves.items()]
                )
        except sqlite3.Error:
            self.unwritten += len(saves)
            raise

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()


def _warn(event: str, path: Path, error: BaseException | None) -> None:
    _log.warning(event, extra={"facts": {"file": path.name, "error": str(error)}})
