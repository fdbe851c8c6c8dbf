"""What is kept, under which keys, and what goes first."""

import random

import pytest

from tornado_gateway.hookspecs import Message, NativeCall, Record
from tornado_gateway_cache_entries import OVERHEAD, Bounds, Entries, Entry, key_of

ROOMY = Bounds(60.0, 1_000_000, 100, 100_000)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def call(**changes: object) -> NativeCall:
    facts: dict[str, object] = {"endpoint": "/api/chat", "model": "m:latest", "digest": "d1", "body": b"{}", "stream": False}
    return NativeCall(**{**facts, **changes})  # type: ignore[arg-type]  # the table below is checked by its use


def entry(text: str, clock: Clock) -> Entry:
    return Entry(text.encode(), clock.now)


@pytest.mark.parametrize(
    "other",
    [
        {"endpoint": "/api/generate"},
        {"digest": "d2"},
        {"digest": ""},
        {"body": b'{"x":1}'},
    ],
)
def test_what_makes_another_answer_makes_another_key(other: dict[str, object]) -> None:
    assert key_of("ada", call()) != key_of("ada", call(**other))


def test_streamed_or_not_and_the_place_in_the_request_make_no_other_key() -> None:
    assert key_of("ada", call()) == key_of("ada", call(stream=True, index=3))


def test_twins_of_one_request_have_keys_of_their_own() -> None:
    assert len({key_of("ada", call(), twin) for twin in range(8)}) == 8


def test_a_digest_cannot_be_taken_for_a_name() -> None:
    assert key_of("a", call(digest="", model="digest:d1")) != key_of("a", call(digest="d1"))


def test_no_two_tenants_share_a_key() -> None:
    """C01 and C02: names and bodies whose parts run together, and keys that begin and end alike."""
    chance, seen = random.Random(1), dict[bytes, tuple[str, bytes]]()
    for _ in range(10_000):
        text = "".join(chance.choices("ab{}:1", k=chance.randrange(1, 12)))
        cut = chance.randrange(len(text))
        tenant, body = text[:cut] or "x", text[cut:].encode()
        assert seen.setdefault(key_of(tenant, call(body=body)), (tenant, body)) == (tenant, body)

    begin, end = "k" * 20, "y" * 20
    assert key_of(f"{begin}1{end}", call()) != key_of(f"{begin}2{end}", call())


def test_an_entry_comes_back_with_its_age() -> None:
    clock = Clock()
    entries = Entries(ROOMY, clock)
    record = Record(message=Message(content="Grüße 😀"), done=True, prompt_eval_count=3, eval_count=4)
    encoded = entries.encode(record)
    assert encoded is not None
    entries.put(b"k", encoded)

    clock.now += 12.5
    found = entries.get(b"k")

    assert found is not None
    assert found[0].answer() == [record]
    assert found[1] == 12.5


def test_an_entry_is_gone_after_its_time() -> None:
    clock = Clock()
    entries = Entries(ROOMY, clock)
    entries.put(b"k", entry("x", clock))

    clock.now += 60

    assert entries.get(b"k") is None


def test_the_least_recently_used_goes_first() -> None:
    clock, gone = Clock(), list[bytes]()
    entries = Entries(Bounds(60, 1_000_000, 2, 1000), clock, gone.extend)
    entries.put(b"a", entry("a", clock))
    entries.put(b"b", entry("b", clock))
    entries.get(b"a")

    entries.put(b"c", entry("c", clock))

    assert gone == [b"b"]
    assert entries.evicted == 1
    assert len(entries) == 2


def test_bytes_are_bounded_whatever_comes() -> None:
    clock, chance = Clock(), random.Random(2)
    entries = Entries(Bounds(60, 50_000, 1000, 20_000), clock)

    for _ in range(2000):
        entries.put(chance.randbytes(2), entry("x" * chance.randrange(25_000), clock))
        clock.now += chance.random() / 10
        assert entries.size <= 50_000

    assert entries.evicted > 0


def test_an_answer_over_the_size_of_an_entry_is_not_kept() -> None:
    clock = Clock()
    entries = Entries(Bounds(60, 1_000_000, 10, 1000), clock)

    assert entries.encode(Record(response="x" * 1001, done=True)) is None
    assert entries.encode(Record(response="\n" * 900, done=True)) is None  # 1,800 bytes as JSON
    assert entries.encode(Record(response="x" * 900, done=True)) is not None


def test_an_entry_that_is_made_anew_takes_the_place_of_the_old() -> None:
    clock = Clock()
    entries = Entries(ROOMY, clock)
    entries.put(b"k", entry("old", clock))
    clock.now += 50

    entries.put(b"k", entry("new", clock))
    clock.now += 50

    found = entries.get(b"k")
    assert found is not None
    assert found[0].data == b"new"
    assert entries.size == 3 + OVERHEAD


def test_new_bounds_keep_what_fits_in_them() -> None:
    clock, gone = Clock(), list[bytes]()
    entries = Entries(ROOMY, clock, gone.extend)
    for name in (b"a", b"b", b"c"):
        entries.put(name, entry(name.decode(), clock))
    entries.put(b"large", entry("x" * 5000, clock))

    entries.resize(Bounds(30, 1_000_000, 2, 1000))
    clock.now += 29

    assert sorted(gone) == [b"a", b"large"]
    assert entries.get(b"c") is not None
    clock.now += 1
    assert entries.get(b"c") is None


@pytest.mark.parametrize("most", [3, 2])
def test_new_bounds_do_not_forget_what_was_used_last(most: int) -> None:
    clock, gone = Clock(), list[bytes]()
    entries = Entries(Bounds(60, 1_000_000, 3, 1000), clock, gone.extend)
    for name in (b"a", b"b", b"c"):
        entries.put(name, entry(name.decode(), clock))
        clock.now += 1
    entries.get(b"a")

    entries.resize(Bounds(60, 1_000_000, most, 1000))
    entries.put(b"d", entry("d", clock))

    assert gone == [b"b", b"c"][: 4 - most]
    clock.now += 59
    assert len(entries) == 1  # those that were stored first have gone first
    assert entries.get(b"d")


def test_entries_go_when_their_time_is_over_in_whatever_order_they_are_used() -> None:
    clock, gone = Clock(), list[bytes]()
    entries = Entries(ROOMY, clock, gone.extend)
    for name in (b"a", b"b", b"a", b"c"):
        entries.put(name, entry(name.decode(), clock))
        clock.now += 10

    entries.get(b"b")
    clock.now += 35
    entries.put(b"d", entry("d", clock))

    assert gone == [b"b"]
    assert entries.get(b"a") is not None
    clock.now += 100
    assert (len(entries), entries.size) == (0, 0)
