"""Times and numbers of records."""

import re

import pytest

from tornado_gateway.testing import FakeModel
from tornado_gateway.testing.answers import Answer, Piece
from tornado_gateway.testing.gojson import decode
from tornado_gateway.testing.native import NativeRequest
from tornado_gateway.testing.records import Scribe, timestamp


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
        (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
        (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
    ],
)
def test_a_time_drops_its_trailing_zeros(nanoseconds: int, text: str) -> None:
    assert timestamp(nanoseconds) == text


def test_the_parts_of_the_time_never_exceed_the_whole() -> None:
    scribe = Scribe(NativeRequest("/api/chat", "m"), FakeModel("m"), arrived=0, loaded_in=7)

    last = decode(scribe.last(Answer((Piece("a"),), "stop", 5, 2)))

    parts = last["load_duration"] + last["prompt_eval_duration"] + last["eval_duration"]
    assert 0 < parts <= last["total_duration"]
    assert last["load_duration"] == 7


def test_numbers_that_are_zero_and_reasons_that_are_empty_are_left_out() -> None:
    last = decode(Scribe(NativeRequest("/api/chat", "m"), FakeModel("m"), arrived=0).last(Answer((), "", 0, 0)))

    assert not {"prompt_eval_count", "eval_count", "done_reason"} & set(last)


def test_names_are_escaped_as_go_does() -> None:
    line = Scribe(NativeRequest("/api/chat", "<m>"), FakeModel("m"), arrived=0).piece(Piece("&"))

    assert re.search(rb'"model":"\\u003cm\\u003e".*"content":"\\u0026"', line)
    assert line.endswith(b"}\n")
