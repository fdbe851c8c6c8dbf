"""What the core, Tornado and asyncio say, on its way to the log."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tornado_gateway_logging_events import BURST, Damper, EventHandler
from tornado_gateway_logging_lines import Item


class Seen(list[tuple[Item, bool, bool]]):
    def __call__(self, item: Item, files: bool, console: bool) -> None:
        self.append((item, files, console))

    @property
    def told(self) -> list[tuple[str, dict[str, Any]]]:
        return [(item.values[0], dict(item.more or {})) for item, _, _ in self]


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture(autouse=True)
def handler(seen: Seen) -> Iterator[EventHandler]:
    handler = EventHandler(seen, logging.INFO, "/a")
    handler.attach()
    yield handler
    handler.detach()


def core(event: str = "hook_failed", level: int = logging.WARNING, exc_info: Any = None, **facts: Any) -> None:
    logging.getLogger("tornado_gateway.hooks").log(level, event, extra={"facts": facts}, exc_info=exc_info)


def test_an_event_of_the_core_comes_with_its_facts(seen: Seen) -> None:
    core(plugin="x", count=3, level=logging.INFO)

    assert seen.told == [("hook_failed", {"logger": "tornado_gateway.hooks", "plugin": "x", "count": 3})]


def test_events_below_the_level_do_not_come(seen: Seen, handler: EventHandler) -> None:
    core(level=logging.DEBUG)
    handler.set_level(logging.ERROR)
    core(level=logging.WARNING)

    assert not seen


def test_c09_an_exception_comes_without_its_message(seen: Seen) -> None:
    core(plugin="x", exc_info=RuntimeError("canary"))

    assert seen.told[0][1]["exception_type"] == "RuntimeError"
    assert "canary" not in str(seen)


@pytest.mark.parametrize(
    ("logger", "message", "arguments", "event"),
    [
        (
            "tornado.general",
            "Malformed HTTP message from %s: %s",
            ("canary", ValueError("canary")),
            "Malformed HTTP message from …: …",
        ),
        ("tornado.application", "Uncaught exception %s\n%r", ("GET /?key=canary", "canary"), "Uncaught exception …"),
        ("tornado.general", "%(a)s of %(b)5.2f", ({"a": "canary", "b": 1.0},), "… of …"),
        ("asyncio", "Task exception was never retrieved\nfuture: <Task canary>", (), "Task exception was never retrieved"),
        ("asyncio", "Exception in callback f('canary')", (), "Exception in callback f…"),
    ],
)
def test_c09_of_others_only_the_wording_comes(seen: Seen, logger: str, message: str, arguments: Any, event: str) -> None:
    logging.getLogger(logger).error(message, *arguments)

    assert seen.told == [(event, {"logger": logger})]


def test_tornados_own_line_per_request_and_its_small_talk_do_not_come(seen: Seen) -> None:
    logging.getLogger("tornado.access").error("500 GET /?key=canary")
    logging.getLogger("tornado.general").info("nothing")

    assert not seen


def test_a_record_that_was_not_made_by_the_core_comes_by_its_wording(seen: Seen) -> None:
    logging.getLogger("tornado_gateway.plugins.mine").warning("lost %s", "canary")

    assert seen.told == [("lost …", {"logger": "tornado_gateway.plugins.mine"})]


def test_repeated_events_are_counted_and_the_count_is_told_at_the_end(seen: Seen, handler: EventHandler) -> None:
    for _ in range(BURST + 95):
        core(plugin="x")
    core(plugin="y")

    handler.detach()

    assert [facts.get("repeated") for _, facts in seen.told] == [None] * (BURST + 1) + [95]


def test_a_minute_later_events_pass_again_with_the_count_of_those_held_back() -> None:
    damper = Damper()

    def pass_on(now: float) -> Item | None:
        return damper.pass_on(Item(logging.ERROR, ("full", now, logging.ERROR), {"logger": "l"}))

    passed = [pass_on(now) for now in (0, 1, 2, 3, 4, 5, 6, 61, 62)]

    assert [each is not None for each in passed] == [True] * BURST + [False] * 2 + [True] * 2
    assert passed[7]
    assert passed[7].more == {"logger": "l", "repeated": 2}
    assert damper.rest() == []


def test_of_two_that_write_to_one_folder_one_writes_an_event(seen: Seen) -> None:
    other = Seen()
    second = EventHandler(other, logging.INFO, "/a")
    second.attach()
    core("one")
    second.detach()

    assert [(files, console) for _, files, console in seen] == [(True, True)]
    assert not other


def test_of_two_with_folders_of_their_own_each_writes_an_event_and_one_shows_it(seen: Seen) -> None:
    other = Seen()
    second = EventHandler(other, logging.INFO, "/b")
    second.attach()
    core("one")
    second.detach()

    assert [(files, console) for _, files, console in seen] == [(True, True)]
    assert [(files, console) for _, files, console in other] == [(True, False)]


def test_whoever_comes_and_goes_the_loggers_are_left_as_they_were(handler: EventHandler) -> None:
    root = logging.getLogger("tornado_gateway")
    second = EventHandler(Seen(), logging.DEBUG, "/b")

    second.attach()
    levels = [root.level]
    handler.detach()
    levels.append(root.level)
    second.detach()
    levels.append(root.level)

    assert levels == [logging.DEBUG, logging.DEBUG, logging.NOTSET]
    for name in ("tornado_gateway", "tornado", "asyncio"):
        assert not [each for each in logging.getLogger(name).handlers if isinstance(each, EventHandler)]


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("canary")


def test_a_record_that_cannot_be_told_is_told_as_such(seen: Seen, handler: EventHandler) -> None:
    record = logging.LogRecord("tornado_gateway", logging.WARNING, "", 0, Broken(), None, None)
    record.facts = {}

    handler.handle(record)

    assert seen.told == [("log_event_failed", {"logger": "tornado_gateway"})]
