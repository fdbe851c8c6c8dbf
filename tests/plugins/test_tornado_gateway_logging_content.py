"""The words of a request, where they may be written."""

import json

import msgspec

from tornado_gateway.hookspecs import Message, NativeCall, Record, ToolCall
from tornado_gateway_logging_content import MOST_CHARACTERS, Content, said


def call(index: int = 0, **request: object) -> NativeCall:
    return NativeCall("/api/chat", "m", "", msgspec.json.encode(request), stream=True, index=index)


def test_a_request_of_which_nothing_got_far_has_no_words() -> None:
    assert (Content().prompt(), Content().answer()) == (None, None)


def test_a_prompt_is_written_without_images_and_options() -> None:
    content = Content()

    content.listen(call(messages=[{"role": "user", "content": "Hello", "images": ["AAAA"]}], options={"seed": 1}, model="m"))

    assert json.loads(content.prompt() or "") == {"messages": [{"role": "user", "content": "Hello"}]}


def test_an_answer_is_joined_from_its_records_and_none_is_changed() -> None:
    content = Content()
    hear = content.listen(call(prompt="Once"))
    records = [Record(response="upon "), Record(message=Message(content="a time")), Record(done=True)]

    heard = [hear(record) for record in records]

    assert heard == records
    assert content.answer() == "upon a time"


def test_several_calls_are_lists_in_the_order_of_their_numbers() -> None:
    content = Content()
    for index in (1, 0):
        content.listen(call(index, prompt=str(index)))(Record(response=f"answer {index}"))

    assert json.loads(content.prompt() or "") == [{"prompt": "0"}, {"prompt": "1"}]
    assert json.loads(content.answer() or "") == ["answer 0", "answer 1"]


def test_calls_of_tools_are_words_too() -> None:
    asked = msgspec.convert({"function": {"name": "add", "arguments": {"a": 1}}}, ToolCall)

    assert said(Record(message=Message(content="So: ", tool_calls=[asked]))) == 'So: [calls add with {"a":1}]'
    assert said(Record(tool_calls=[asked])) == '[calls add with {"a":1}]'


def test_an_answer_without_end_is_not_kept_without_end() -> None:
    content = Content()
    hear = content.listen(call(prompt="Once"))

    for _ in range(10):
        hear(Record(response="x" * MOST_CHARACTERS))

    assert len(content.answer() or "") == MOST_CHARACTERS
