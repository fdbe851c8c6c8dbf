"""What was spent, in an SQLite table. Its connection lives in one thread; verdicts come from memory, so nobody waits for a disk.

What was added is written at once, in order. A write that fails is tried again with the next one, and meanwhile `trouble` says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_TABLE = """
CREATE TABLE IF NOT EXISTS spending (
    month TEXT NOT NULL, tenant TEXT NOT NULL, tokens INTEGER NOT NULL, requests INTEGER NOT NULL,
    PRIMARY KEY (month, tenant)
) WITHOUT ROWID
"""
_ADD = """
INSERT INTO spending VALUES (?, ?, ?, ?) ON CONFLICT (month, tenant)
DO UPDATE SET tokens = tokens + excluded.tokens, requests = requests + excluded.requests
RETURNING month, tenant, tokens
"""
_MONTHS_IN_MEMORY = 2
"""This one, and the next when it comes."""

Key = tuple[str, str]


class LedgerBroken(Exception):
    """The file cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Spent:
    tenant: str
    tokens: int
    requests: int


class Ledger:
    """Opened, used and closed from one event loop; `read` alone is for other processes."""

    def __init__(self, file: Path) -> None:
        self.trouble: str | None = None
        """Why spending cannot be written at the moment."""
        self._file = file
        self._spent: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._unwritten: dict[Key, tuple[int, int]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="budget")
        self._connection: sqlite3.Connection | None = None
        self._writing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises `LedgerBroken`."""
        for month, tenant, tokens in await self._in_thread(self._open):
            self._spent[month][tenant] = tokens

    def tokens(self, tenant: str, month: str) -> int:
        """What the tenant has spent in a month, as far as it is known now."""
        return self._spent[month][tenant] if month in self._spent else 0

    def add(self, tenant: str, month: str, tokens: int) -> None:
        """Count a request; never waits."""
        self._spent[month][tenant] += tokens
        while len(self._spent) > _MONTHS_IN_MEMORY:
            del self._spent[min(self._spent)]
        before = self._unwritten.get((month, tenant), (0, 0))
        self._unwritten[month, tenant] = (before[0] + tokens, before[1] + 1)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def rows(self, month: str) -> list[Spent]:
        """A month's spending, the greatest first, with all that was added before."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
        return await self._in_thread(self._rows, month)

    async def close(self) -> None:
        """Write what is left."""
        if self._writing is not None:
            await self._writing
        if self._unwritten:
            await self._write()
        await self._in_thread(self._close)
        self._thread.shutdown()

    def read(self, month: str) -> list[Spent]:
        """A month's spending from a file that another process may write. Raises `LedgerBroken`."""
        try:
            with contextlib.closing(sqlite3.connect(f"{self._file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                return _select(connection, month)
        except sqlite3.Error as error:
            raise LedgerBroken(f"{self._file} cannot be read: {error}") from error

    async def _write(self) -> None:
        while self._unwritten:
            batch, self._unwritten = self._unwritten, {}
            try:
                totals = await self._in_thread(self._add, batch)
            except sqlite3.Error as error:
                self.trouble = f"spending cannot be written: {error}"
                for key, (tokens, requests) in batch.items():
                    more = self._unwritten.get(key, (0, 0))
                    self._unwritten[key] = (tokens + more[0], requests + more[1])
                return
            self.trouble = None
            for month, tenant, tokens in totals:  # another process may have added its own
                self._spent[month][tenant] = tokens + self._unwritten.get((month, tenant), (0, 0))[0]

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    # In the thread.

    def _open(self) -> list[tuple[str, str, int]]:
        try:
            self._connection = sqlite3.connect(self._file, isolation_level=None, timeout=0.2)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(_TABLE)
            months = "SELECT DISTINCT month FROM spending ORDER BY month DESC LIMIT ?"
            chosen = f"SELECT month, tenant, tokens FROM spending WHERE month IN ({months})"  # noqa: S608  # both texts stand here
            return self._connection.execute(chosen, (_MONTHS_IN_MEMORY,)).fetchall()
        except sqlite3.Error as error:
            self._close()
            raise LedgerBroken(f"{self._file} cannot be opened: {error}") from error

    def _add(self, batch: dict[Key, tuple[int, int]]) -> list[tuple[str, str, int]]:
        connection = self._opened()
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            return [connection.execute(_ADD, (*key, *spent)).fetchone() for key, spent in batch.items()]

    def _rows(self, month: str) -> list[Spent]:
        return _select(self._opened(), month)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the ledger is not open")
        return self._connection


def _select(connection: sqlite3.Connection, month: str) -> list[Spent]:
    rows = connection.execute(
        "SELECT tenant, tokens, requests FROM spending WHERE month = ? ORDER BY tokens DESC, tenant", (month,)
    )
    return [Spent(*row) for row in rows]
