"""The queue never makes anybody wait, and tells what it lost."""

import logging
import threading
import time

import pytest

from tornado_gateway_logging_lines import Item
from tornado_gateway_logging_writer import MOST_AT_ONCE, Writer

LIMIT = 5.0


class Gate:
    """A sink that can be stopped, and made to fail."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.succeeded = threading.Event()
        self.reached = threading.Event()
        """So many lines are written."""
        self.awaited = 10**9
        self.failing = 0
        self.prepared: list[Item] = []
        self.written: list[Item] = []
        self.closed = False

    def add(self, item: Item) -> None:
        if item.values[0] == "impossible":
            raise KeyError("canary")
        self.prepared.append(item)

    def flush(self) -> None:
        self.entered.set()
        self.open.wait(LIMIT)
        if self.failing:
            self.failing -= 1
            raise OSError(28, "No space left on device")
        self.written += self.prepared
        self.prepared = []
        self.succeeded.set()
        if len(self.written) >= self.awaited:
            self.reached.set()

    def close(self) -> None:
        self.closed = True

    @property
    def names(self) -> list[str]:
        return [item.values[0] for item in self.written]


def item(name: str = "event") -> Item:
    return Item(logging.INFO, (name, 0.0, logging.INFO), {})


def test_what_was_handed_over_is_written_in_order_before_the_end() -> None:
    sink = Gate()
    writer = Writer("test", sink)

    for number in range(2000):
        writer.put(item(str(number)))

    assert writer.close(LIMIT)
    assert sink.names == [str(number) for number in range(2000)]
    assert sink.closed


def test_a_line_is_written_soon_without_an_end() -> None:
    sink = Gate()
    writer = Writer("test", sink)

    writer.put(item())

    assert sink.entered.wait(LIMIT)
    writer.close(LIMIT)


def test_who_is_behind_does_not_wait_for_more_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tornado_gateway_logging_writer.GATHER_SECONDS", 0)
    sink = Gate()
    sink.open.clear()
    writer = Writer("test", sink)
    writer.put(item("first"))
    assert sink.entered.wait(LIMIT)

    monkeypatch.setattr("tornado_gateway_logging_writer.GATHER_SECONDS", 60)
    for number in range(4 * MOST_AT_ONCE):
        writer.put(item(str(number)))
    sink.awaited = 3 * MOST_AT_ONCE
    sink.open.set()

    assert sink.reached.wait(LIMIT)
    assert writer.close(LIMIT)
    assert sink.names == ["first", *map(str, range(4 * MOST_AT_ONCE))]


def test_c52_a_sink_that_stalls_costs_lines_but_no_time() -> None:
    sink = Gate()
    sink.open.clear()
    writer = Writer("test", sink, most_waiting=100)
    writer.put(item("first"))
    assert sink.entered.wait(LIMIT)

    begin = time.monotonic()
    for _ in range(1000):
        writer.put(item())
    took = time.monotonic() - begin
    sink.open.set()

    assert took < 0.5
    assert writer.dropped == 900
    assert writer.close(LIMIT)
    assert sink.names.count("event") == 100
    lost = next(each for each in sink.written if each.values[0] == "log_lines_dropped")
    assert lost.more
    assert lost.more["count"] == 900


def test_c52_what_failed_is_tried_again_and_told() -> None:
    sink = Gate()
    sink.failing = 2
    told: list[tuple[str, dict[str, object]]] = []
    writer = Writer("test", sink, lambda event, facts: told.append((event, facts)))

    writer.put(item())
    assert sink.succeeded.wait(LIMIT)

    assert writer.close(LIMIT)
    assert sink.names == ["event", "log_written_again"]
    assert writer.failures == 2
    assert told == [("log_not_written", {"reason": "OSError (No space left on device)"})]


def test_a_sink_that_never_writes_again_does_not_keep_the_process() -> None:
    sink = Gate()
    sink.failing = 10**9
    writer = Writer("test", sink)
    writer.put(item())

    assert writer.close(LIMIT)
    assert sink.closed


def test_a_sink_that_stalls_at_the_end_is_left() -> None:
    sink = Gate()
    sink.open.clear()
    writer = Writer("test", sink)
    writer.put(item())
    assert sink.entered.wait(LIMIT)

    assert not writer.close(0.1)

    sink.open.set()
    assert writer.close(LIMIT)


def test_a_line_that_cannot_be_made_does_not_end_the_others() -> None:
    sink = Gate()
    writer = Writer("test", sink)

    for name in ("one", "impossible", "two"):
        writer.put(item(name))

    assert writer.close(LIMIT)
    assert sink.names == ["one", "log_line_failed", "two"]
    assert "canary" not in str(sink.written)
