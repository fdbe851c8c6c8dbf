"""From values to lines."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.hookspecs import NativeCall, Record
from tornado_gateway_logging_content import Content
from tornado_gateway_logging_lines import REQUEST_FIELDS, Item, human_lines, json_line, line_of

MOMENT = 1790000000.1234
VALUES: dict[str, Any] = {
    "event": "request",
    "time": MOMENT,
    "level": logging.INFO,
    "request_id": "r-1",
    "key": "alice",
    "client": "127.0.0.1",
    "method": "POST",
    "path": "/v1/chat/completions",
    "status": 200,
    "model": "llama3.2",
    "upstream": "default",
    "stream": True,
    "cache": None,
    "queue_ms": 0.12345,
    "first_byte_ms": 12.0,
    "duration_ms": 99.999,
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "load_ms": None,
    "ended": "complete",
    "error": None,
}


def item(more: Any = None, **values: Any) -> Item:
    return Item(values.get("level", logging.INFO), tuple({**VALUES, **values}.values()), more)


def event(name: str = "event", **facts: Any) -> Item:
    return Item(logging.WARNING, (name, MOMENT, logging.WARNING), facts)


def test_a_line_has_the_promised_names_in_the_promised_order() -> None:
    line = json.loads(json_line(line_of(item())))

    assert list(line) == list(VALUES) == list(REQUEST_FIELDS)
    assert line["time"] == "2026-09-21T14:13:20.123Z"
    assert line["level"] == "INFO"
    assert (line["queue_ms"], line["duration_ms"], line["load_ms"]) == (0.12, 100.0, None)


def test_more_comes_after_and_replaces_nothing() -> None:
    line = json.loads(json_line(line_of(item(more={"user": "u", "status": 1}))))

    assert list(line)[-1] == "user"
    assert line["status"] == 200


def test_an_event_has_its_facts_behind_event_time_and_level() -> None:
    line = json.loads(json_line(line_of(event("hook_failed", plugin="x", prompt="p", path=1, level="odd"))))

    assert list(line) == ["event", "time", "level", "plugin", "prompt", "path"]
    assert line["level"] == "WARNING"


@pytest.mark.parametrize("name", ["request_id", "method", "path", "model"])
def test_a_key_in_what_a_client_sent_is_cut(name: str) -> None:
    assert "canary" not in json_line(line_of(item(**{name: "tg_canary0123"})))


@given(st.text())
def test_c10_any_text_stays_one_line_of_ascii_and_comes_back_the_same(text: str) -> None:
    line = json_line(line_of(event(said=text)))

    assert len(line.splitlines()) == 1
    assert line.isascii()
    assert json.loads(line)["said"] == text


def test_c10_a_lone_surrogate_is_no_reason_to_lose_a_line() -> None:
    assert json.loads(json_line(line_of(item(model="a\ud800"))))["model"] == "a\ud800"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_c10_nothing_that_a_client_sends_moves_the_cursor(text: str) -> None:
    line = human_lines(colours=False)(line_of(item(model=text, path=text)))

    assert line.isprintable()
    assert human_lines(colours=False)(line_of(event(said=[text], also=text))).isprintable()


def test_people_read_what_happened_first_and_nothing_that_is_not_known() -> None:
    line = human_lines(colours=False)(line_of(item()))

    assert " INFO    POST /v1/chat/completions 200 complete 100.0 ms  request_id=r-1 key=alice " in line
    assert "None" not in line
    assert "\033[" not in line


def test_a_terminal_has_colours() -> None:
    render = human_lines(colours=True)

    assert "\033[" in render(line_of(item()))
    assert "\033[" in render(line_of(event(plugin="x")))


def test_content_becomes_prompt_and_answer_behind_the_rest() -> None:
    content = Content()
    hear = content.listen(NativeCall("/api/generate", "m", "", b'{"prompt":"Once"}', stream=False))
    hear(Record(response="upon", done=True))

    line = line_of(item(more={"content": content}))

    assert list(line)[len(REQUEST_FIELDS) :] == ["prompt", "answer"]
    assert (line["prompt"], line["answer"]) == ('{"prompt":"Once"}', "upon")


def test_even_where_words_are_written_keys_are_not_and_the_length_is_bounded() -> None:
    line = line_of(item(more={"answer": "Your key is tg_canary0123. " + "x" * 10**6}))

    assert "canary" not in line["answer"]
    assert len(line["answer"]) <= 20_000
