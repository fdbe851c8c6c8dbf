"""What becomes of each role and each kind of content; the vectors 12 to 35 have the rest."""

import base64
from typing import Any

import pytest
from chatting import messages, plan, refused

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}}


@pytest.mark.parametrize(
    ("role", "native"),
    [("system", "system"), ("developer", "system"), ("user", "user"), ("assistant", "assistant"), ("tool", "tool")],
)
def test_roles(role: str, native: str) -> None:
    assert messages({"role": role, "content": "x"}) == [{"role": native, "content": "x"}]


@pytest.mark.parametrize("role", ["admin", "USER", ""])
def test_an_unknown_role_is_named(role: str) -> None:
    assert refused(messages=[{"role": "user", "content": "x"}, {"role": role, "content": "x"}]).param == "messages[1].role"


def test_a_message_without_a_role_is_named() -> None:
    assert refused(messages=[{"content": "x"}]).param == "messages[0].role"


def test_the_answer_of_a_function_is_a_result_with_its_name() -> None:
    history: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}},
        {"role": "function", "name": "f", "content": "2"},
    ]

    assert messages(*history) == [
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "tool", "content": "2", "tool_name": "f"},
    ]


def test_arguments_keep_the_order_of_their_keys() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": '{"z":1,"a":{"y":2,"b":3}}'}}

    sent = messages({"role": "assistant", "tool_calls": [call]})

    arguments = sent[0]["tool_calls"][0]["function"]["arguments"]
    assert (list(arguments), list(arguments["a"])) == (["z", "a"], ["y", "b"])


def test_several_images_are_in_one_message_in_their_order() -> None:
    other = base64.b64encode(b"\xff\xd8\xff\xe0").decode()
    second = {"type": "image_url", "image_url": f"data:image/jpeg;base64,{other}"}

    sent = messages({"role": "user", "content": [IMAGE, {"type": "text", "text": "a"}, second, {"type": "text", "text": "b"}]})

    assert sent == [{"role": "user", "content": "ab", "images": [PIXEL, other]}]


def test_an_image_for_a_model_that_cannot_see_names_its_part() -> None:
    turns = [{"role": "user", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]}]

    assert refused(capabilities=frozenset({"completion"}), messages=turns).param == "messages[1].content[1]"


def test_refusals_are_text() -> None:
    assert messages({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]})[0]["content"] == "No."
    assert messages({"role": "assistant", "content": None, "refusal": "No."})[0]["content"] == "No."


def test_a_file_of_text_is_text() -> None:
    part = {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,SGVsbG8="}}

    assert messages({"role": "user", "content": [part]})[0]["content"] == "Hello"


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"text": "x"}, "type"),
        ({"type": "video_url"}, "type"),
        ({"type": "text"}, "text"),
        ({"type": "image_url"}, "image_url"),
        ({"type": "image_url", "image_url": {}}, "image_url"),
        ({"type": "input_audio"}, "input_audio.data"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "ogg"}}, "input_audio.format"),
        ({"type": "input_audio", "input_audio": {"data": "!"}}, "input_audio.data"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file.file_id"),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg=="}}, "file.file_data"),
    ],
)
def test_a_part_that_cannot_be_sent_is_named(part: Any, param: str) -> None:
    assert refused(messages=[{"role": "user", "content": [part]}]).param == f"messages[0].content[0].{param}"


@pytest.mark.parametrize(
    ("call", "param"),
    [({"id": "a"}, "function"), ({"id": "a", "function": {}}, "function.name"), ({"function": {"name": ""}}, "function.name")],
)
def test_a_call_without_a_function_is_named(call: Any, param: str) -> None:
    assert refused(messages=[{"role": "assistant", "tool_calls": [call]}]).param == f"messages[0].tool_calls[0].{param}"


def test_the_name_of_a_person_has_no_effect_and_is_named_as_ignored() -> None:
    assert plan(messages=[{"role": "user", "name": "Ada", "content": "x"}]).ignored == ("messages.name",)
