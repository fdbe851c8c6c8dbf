"""A line that is made at once is the line that the writer's thread would make."""

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway_logging_lines import REQUEST_FIELDS, Item, human_lines, json_line, line_of
from tornado_gateway_logging_requests import Ready, maker

ORDINARY: dict[str, Any] = {
    "event": "request",
    "time": 1_790_000_000.1234,
    "level": logging.INFO,
    "request_id": "0123456789abcdef",
    "key": "team",
    "client": "127.0.0.1",
    "method": "POST",
    "path": "/v1/chat/completions",
    "status": 200,
    "model": "llama3.2:latest",
    "upstream": "ollama",
    "stream": False,
    "cache": "miss",
    "queue_ms": 0.01234,
    "first_byte_ms": 12.3456,
    "duration_ms": 23.4567,
    "prompt_tokens": 26,
    "completion_tokens": 10,
    "load_ms": None,
    "ended": "complete",
    "error": None,
}
TEXTS = (
    st.none() | st.text(st.characters(), max_size=40) | st.sampled_from(["Bearer tg_canary0123", "?key=canary", "\n\x1b[31m"])
)


def item(more: dict[str, Any] | None = None, **values: Any) -> Item:
    given = {**ORDINARY, **values}
    return Item(given["level"], tuple(given[name] for name in REQUEST_FIELDS), more)


def slow_json(entry: Item) -> str:
    return json_line(line_of(entry))


def slow_words(entry: Item, colours: bool) -> str:
    return human_lines(colours)(line_of(entry))


@given(
    st.fixed_dictionaries(
        {"path": st.text(max_size=40), "model": TEXTS, "key": TEXTS, "queue_ms": st.none() | st.floats(0, 1e6)}
    ),
    st.none() | st.dictionaries(st.sampled_from(["user", "requested_model"]), st.text(max_size=30)),
    st.sampled_from([logging.INFO, logging.ERROR]),
    st.booleans(),
)
def test_whatever_clients_send_both_ways_say_the_same(
    values: dict[str, Any], more: dict[str, Any] | None, level: int, colours: bool
) -> None:
    entry = item(more, level=level, **values)
    made = maker(files=True, console="human", colours=colours)(entry)

    assert isinstance(made, Ready)
    assert made == Ready(level, slow_json(entry), slow_words(entry, colours))
    assert "canary" not in f"{made.json}{made.console}" or values["key"]


def test_only_what_is_wanted_is_made() -> None:
    entry = item()

    assert maker(files=True, console="off", colours=False)(entry) == Ready(logging.INFO, slow_json(entry), None)
    assert maker(files=False, console="json", colours=False)(entry) == Ready(logging.INFO, None, slow_json(entry))
    assert maker(files=False, console="human", colours=False)(entry) == Ready(logging.INFO, None, slow_words(entry, False))


@pytest.mark.parametrize(
    "entry",
    [
        Item(logging.INFO, ("started", 0.0, logging.INFO), {"addresses": []}),
        item({"content": object()}),
        item({"prompt": "a prompt"}),
        item({"user": "u" * 600}),
    ],
)
def test_events_and_what_may_be_long_are_left_to_the_thread(entry: Item) -> None:
    assert maker(files=True, console="human", colours=False)(entry) is entry
