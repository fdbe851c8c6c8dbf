"""Records on their way through the functions of plugins."""

import asyncio
import logging

import msgspec
import pytest

from tornado_gateway.binding import Bound
from tornado_gateway.errors import InvalidRequest
from tornado_gateway.hookspecs import Message, Record, ToolCall
from tornado_gateway.transforms import Change, transformed
from tornado_gateway.wire.ollama import ToolCallFunction


def bound() -> Bound:
    return Bound("mine", "transform", lambda: None)


def test_each_function_is_fed_what_the_one_before_it_gave() -> None:
    changes = [
        Change(bound(), lambda record: msgspec.structs.replace(record, response=record.response + "b")),
        Change(bound(), lambda record: msgspec.structs.replace(record, response=record.response + "c")),
    ]

    assert transformed(Record(response="a"), changes).response == "abc"


def test_one_that_fails_at_every_record_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    change = Change(bound(), lambda record: 1 / 0)  # type: ignore[arg-type,return-value]  # what a plugin must not do

    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert transformed(Record(response="a"), [change]).response == "a"

    assert [record.getMessage() for record in caplog.records] == ["hook_failed"]


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()], ids=repr)
async def test_one_cannot_end_more_than_itself(caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
    def ends(record: Record) -> Record:
        raise error

    mine = bound()

    assert transformed(Record(response="a"), [Change(mine, ends)]).response == "a"
    assert mine.meter.failures == 1
    assert [record.getMessage() for record in caplog.records] == ["hook_failed"]


def test_one_that_is_a_coroutine_function_changes_nothing_and_leaves_nothing_open(recwarn: pytest.WarningsRecorder) -> None:
    async def waits(record: Record) -> Record:
        return record

    change = Change(bound(), waits)  # type: ignore[arg-type]  # what a plugin must not do

    for _ in range(3):
        assert transformed(Record(response="a"), [change]).response == "a"

    assert not [warning for warning in recwarn if "never awaited" in str(warning.message)]


def test_a_refusal_passes() -> None:
    def refuse(record: Record) -> Record:
        raise InvalidRequest("No.")

    with pytest.raises(InvalidRequest):
        transformed(Record(), [Change(bound(), refuse)])


def test_c54_what_others_may_read_too_is_not_changed() -> None:
    def vandalise(record: Record) -> Record:
        assert record.message
        assert record.message.tool_calls
        record.message.tool_calls[0].function.arguments["city"] = "Rome"
        return record

    shared = Record(message=Message(tool_calls=[ToolCall(ToolCallFunction("weather", {"city": "Paris"}))]))

    changed = transformed(shared, [Change(bound(), vandalise)])

    assert changed.message
    assert changed.message.tool_calls
    assert shared.message
    assert shared.message.tool_calls
    assert changed.message.tool_calls[0].function.arguments == {"city": "Rome"}
    assert shared.message.tool_calls[0].function.arguments == {"city": "Paris"}
