"""Folding: many records say what one says."""

from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.wire.fold import Folder, fold
from tornado_gateway.wire.ollama import Message, Record, ToolCall, ToolCallFunction

LAST = Record(model="m", message=Message(), done=True, done_reason="stop", prompt_eval_count=3, eval_count=2)


def test_texts_are_joined_and_the_last_record_gives_the_counts() -> None:
    records = [Record(message=Message(content="Hel")), Record(message=Message(content="lo", thinking="hm")), LAST]

    whole = fold(records)

    assert whole is not None
    assert whole.message == Message(content="Hello", thinking="hm")
    assert (whole.prompt_eval_count, whole.eval_count, whole.done_reason) == (3, 2, "stop")


def test_calls_are_collected_in_order() -> None:
    calls = [ToolCall(ToolCallFunction(name)) for name in ("a", "b")]

    whole = fold([Record(message=Message(tool_calls=[call])) for call in calls] + [LAST])

    assert whole is not None
    assert whole.message is not None
    assert list(whole.message.tool_calls or ()) == calls


def test_an_answer_without_its_end_folds_to_nothing() -> None:
    assert fold([Record(message=Message(content="Hel"))]) is None


def test_a_whole_answer_folds_to_itself() -> None:
    assert fold([LAST]) is LAST


def test_an_answer_over_the_bound_is_dropped() -> None:
    folder = Folder(max_size=4)
    folder.add([Record(message=Message(content="12345")), LAST])

    assert folder.whole() is None


@given(st.lists(st.text()))
def test_however_a_text_is_cut_it_folds_to_the_same(pieces: list[str]) -> None:
    whole = fold([*(Record(response=piece) for piece in pieces), Record(done=True)])

    assert whole is not None
    assert whole.response == "".join(pieces)
