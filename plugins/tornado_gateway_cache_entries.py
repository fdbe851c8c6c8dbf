"""What the cache keeps: whole answers under keys that no two tenants share, bounded in bytes, number, size and time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
from cachetools import Cache, LRUCache

from tornado_gateway.hookspecs import NativeCall, Record, decode_records, encode_records

SCHEMA = 1
"""Part of every key: raised when what an entry holds changes, so that old entries in a file are never read as new ones."""

OVERHEAD = 512
"""Bytes that an entry costs besides its answer: key, bookkeeping of the map."""


def key_of(tenant: str, call: NativeCall, twin: int = 0) -> bytes:
    """The key of a call of a tenant.

    Every part is preceded by its length, so that no two lists of parts run together. The model counts by its digest: a model
    that was pulled again never answers from old entries. `twin` tells apart the calls of one request that ask for the same,
    as `n` choices do: each is to be an answer of its own.
    """
    model = f"digest:{call.digest}" if call.digest else f"name:{call.model}"
    parts = f"{SCHEMA}", tenant, call.endpoint, model, f"{twin}"
    head = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.sha256(f"{head}{len(call.body)}:".encode() + call.body).digest()


class Entry(msgspec.Struct, frozen=True):
    """A whole answer, encoded: its bytes are what is bounded, and nobody can change it."""

    data: bytes
    stored: float
    """By the clock of the entries, in seconds."""

    def answer(self) -> list[Record]:
        return decode_records(self.data)


@dataclass(frozen=True, slots=True)
class Bounds:
    seconds: float
    bytes: int
    entries: int
    entry_bytes: int


class Entries:
    """The least recently used go first when a bound is met. `dropped` is told the keys of those that go."""

    def __init__(
        self, bounds: Bounds, clock: Callable[[], float], dropped: Callable[[Iterable[bytes]], None] = lambda keys: None
    ) -> None:
        self._clock = clock
        self._dropped = dropped
        self._bounds = bounds
        self._map = _Map(bounds)
        self.evicted = 0

    def __len__(self) -> int:
        self._map.expire(self._clock())
        return len(self._map)

    @property
    def size(self) -> int:
        """In bytes, what an entry costs besides its answer included."""
        self._map.expire(self._clock())
        return int(self._map.currsize)

    def resize(self, bounds: Bounds) -> None:
        """Take new bounds and keep what fits in them, the least recently used going first as ever."""
        if bounds == self._bounds:
            return  # nearly every reload: ten thousand entries need not be moved twice
        used = self._map.take_all()
        self._bounds = bounds
        self._map = _Map(bounds)
        for key, entry in used:
            self.put(key, entry)
        # What fits, once more: the map wants them in the order in which they were stored, and used in that of their use.
        kept = self._map.take_all()
        for key, entry in sorted(kept, key=lambda item: item[1].stored):
            self._map.store(key, entry)
        for key, _ in kept:
            self._map.get(key)

    def get(self, key: bytes) -> tuple[Entry, float] | None:
        """The entry and its age in seconds."""
        entry: Entry | None = self._map.get(key)
        if entry is None:
            return None
        age = max(0.0, self._clock() - entry.stored)
        return (entry, age) if age < self._bounds.seconds else None

    def encode(self, answer: Record) -> Entry | None:
        """An entry for an answer; None when it is larger than an entry may be."""
        size = len(answer.response) + len(answer.thinking) + (len(answer.message.content) if answer.message else 0)
        if size > self._bounds.entry_bytes:
            return None  # found out without encoding megabytes on the loop
        data = encode_records([answer])
        return Entry(data, self._clock()) if len(data) <= self._bounds.entry_bytes else None

    def put(self, key: bytes, entry: Entry) -> bool:
        """Keep an entry; False when it is larger than may be kept."""
        if len(entry.data) + OVERHEAD > self._bounds.bytes or len(entry.data) > self._bounds.entry_bytes:
            self._report([key])
            return False
        self._map.expire(self._clock())
        self._map.store(key, entry)
        while len(self._map) > self._bounds.entries:
            self._map.popitem()
        if self._map.gone:
            self._report(self._map.take_gone())
        return True

    def _report(self, keys: list[bytes]) -> None:
        self.evicted += len(keys)
        self._dropped(keys)


class _Map(LRUCache[bytes, Entry]):
    """cachetools' map, which remembers whom it let go.

    Entries stand in it in the order in which they were stored, and all live equally long: the expired ones stand first.
    `TLRUCache`, which lets each live as long as it likes, keeps a heap and costs several times as much for each entry.
    """

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(bounds.bytes, getsizeof=lambda entry: len(entry.data) + OVERHEAD)
        self._seconds = bounds.seconds
        self._none_before = math.inf
        """When the next entry has lived long enough, or earlier: to find the first one takes a walk over those that are gone."""
        self.gone: list[bytes] = []
        """The keys of those that were let go, since they were last asked for."""

    def store(self, key: bytes, entry: Entry) -> None:
        if key in self:
            del self[key]  # the new one would keep the place of the older
        self[key] = entry
        self._none_before = min(self._none_before, entry.stored + self._seconds)

    def popitem(self) -> tuple[bytes, Entry]:
        key, entry = super().popitem()
        self.gone.append(key)
        return key, entry

    def expire(self, now: float) -> None:
        """Let go what has lived long enough."""
        if now < self._none_before:
            return
        self._none_before = math.inf
        expired = []
        for key in self:
            end = Cache.__getitem__(self, key).stored + self._seconds
            if now < end:
                self._none_before = end
                break
            expired.append(key)
        for key in expired:
            del self[key]
        self.gone += expired

    def take_all(self) -> list[tuple[bytes, Entry]]:
        """Every entry, the least recently used first; none is left."""
        return [super(_Map, self).popitem() for _ in range(len(self))]

    def take_gone(self) -> list[bytes]:
        gone, self.gone = self.gone, []
        return gone
