"""Bytes of a client: what is read, what is refused, and in which words."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.errors import InvalidJSON, InvalidRequest
from tornado_gateway.wire.decode import check_range, decode_known, decode_object, given_fields, required, whole_number


class Image(msgspec.Struct):
    url: str | None = None


class Part(msgspec.Struct):
    type: str
    image_url: str | Image | None = None


class Turn(msgspec.Struct):
    role: str
    content: str | list[Part] | None = None


class Body(msgspec.Struct):
    model: str | None = None
    messages: list[Turn] | None = None
    temperature: float | None = None
    n: int | float | None = None
    stop: str | list[str] | None = None
    options: dict[str, Any] | None = None


class ExactBody(Body, forbid_unknown_fields=True):
    pass


DECODER = msgspec.json.Decoder(Body)
EXACT: msgspec.json.Decoder[Body] = msgspec.json.Decoder(ExactBody)

NOT_JSON: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \r\n",
    "null": b"null",
    "an array": b"[]",
    "a string": b'"x"',
    "a number": b"1",
    "cut": b'{"model":"m"',
    "trailing": b'{"model":"m"} {}',
    "NaN": b'{"temperature":NaN}',
    "NaN in a field that nobody knows": b'{"x":[NaN]}',
    "Infinity": b'{"temperature":-Infinity}',
    "a number beyond JSON": b'{"temperature":1e999}',
    "an integer of 5000 digits": b'{"n":' + b"9" * 5000 + b"}",
    "a byte order mark": b'\xef\xbb\xbf{"model":"m"}',
    "UTF-16": '{"model":"m"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"model":"m"}'.encode("utf-16-le"),
    "UTF-32": '{"model":"m"}'.encode("utf-32-be"),
    "not UTF-8": b'{"model":"\xff"}',
    "not UTF-8 in a field that nobody knows": b'{"x":"\xff"}',
    "half a surrogate pair": b'{"model":"\\ud800"}',
    "a raw line break in a string": b'{"model":"a\nb"}',
    "a bomb of brackets": b'{"x":' + b"[" * 1_000_000,
    "a bomb of objects": b'{"x":' * 1_000_000,
    "a form": b"model=m&messages=hello",
}

WRONG: list[tuple[bytes, str, str]] = [
    (b'{"temperature":"hot"}', "temperature", "a number, not a string"),
    (b'{"temperature":true}', "temperature", "a number, not a boolean"),
    (b'{"n":"1"}', "n", "a number, not a string"),
    (b'{"messages":{}}', "messages", "an array, not an object"),
    (b'{"messages":[5]}', "messages[0]", "an object, not an integer"),
    (b'{"messages":[{"role":"u"},{"role":1}]}', "messages[1].role", "a string, not an integer"),
    (b'{"messages":[{}]}', "messages[0].role", "is required"),
    (b'{"messages":[{"role":"u","content":2}]}', "messages[0].content", "a string or an array, not an integer"),
    (
        b'{"messages":[{"role":"u","content":[{"type":"t"},{"type":"i","image_url":5}]}]}',
        "messages[0].content[1].image_url",
        "a string or an object, not an integer",
    ),
    (b'{"stop":["a",1]}', "stop[1]", "a string, not an integer"),
    (b'{"options":[]}', "options", "an object, not an array"),
]


def refusal(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode_object(body, DECODER)
    return caught.value


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (rb'{"x":"cut \ud83d"}', "a text holds half a surrogate pair"),
        (rb'{"x":"cut \ud83d", "y": "and on"}', "a text holds half a surrogate pair"),
        (rb'{"x":"\\ud83d', "it ends too early"),
        (rb'{"x":"\ud83d\ude00', "it ends too early"),
    ],
)
def test_half_a_pair_is_not_called_the_end(body: bytes, fault: str) -> None:
    assert refusal(body).message == f"The body is not valid JSON: {fault}."


@pytest.mark.parametrize("name", NOT_JSON)
def test_what_is_not_a_json_object_in_utf_8_is_invalid_json(name: str) -> None:
    error = refusal(NOT_JSON[name])

    assert isinstance(error, InvalidJSON)
    assert (error.status, error.code) == (400, "invalid_json")
    assert error.message.endswith(".")


@pytest.mark.parametrize(("body", "param", "words"), WRONG)
def test_a_value_of_the_wrong_kind_names_its_field_and_the_kind_that_is_wanted(body: bytes, param: str, words: str) -> None:
    error = refusal(body)

    assert error.param == param
    assert error.message.startswith(f"`{param}` ")
    assert words in error.message


def test_a_message_never_holds_the_value() -> None:
    assert "hunter2" not in refusal(b'{"temperature":"hunter2"}').message
    assert "hunter2" not in refusal(b'{"model":"hunter2"').message


def test_null_is_a_value_that_is_not_given() -> None:
    assert decode_object(b'{"model":null,"n":null,"options":null}', DECODER) == Body()


def test_the_last_of_equal_keys_counts_however_it_is_spelled() -> None:
    assert decode_object(b'{"model":"a","\\u006dodel":"b","Model":"c"}', DECODER).model == "b"


def test_fields_are_named_once_in_the_order_of_the_body_and_null_is_not_given() -> None:
    assert given_fields(b'{"z":1,"model":"m","a": null ,"\xc3\xa9":[1],"z":2}') == ("z", "model", "é")


def test_a_number_without_a_fraction_is_an_integer() -> None:
    assert whole_number(decode_object(b'{"n":1.0}', DECODER).n, "n") == 1
    assert whole_number(decode_object(b'{"n":1e3}', DECODER).n, "n") == 1000
    assert whole_number(None, "n") is None


def test_a_number_with_a_fraction_is_not_an_integer() -> None:
    with pytest.raises(InvalidRequest) as caught:
        whole_number(1.5, "n")

    assert caught.value.param == "n"


@pytest.mark.parametrize(
    ("body", "known"),
    [
        (b'{"model":"m","n":1}', True),
        (b'{"model":"m","x":1}', False),
        (b'{"model":"m","x":null}', False),
        (b'{"model":"m","messages":[{"role":"u","x":1}]}', True),
    ],
)
def test_whether_all_fields_of_a_body_are_known_is_told_with_its_value(body: bytes, known: bool) -> None:
    value, exact = decode_known(body, EXACT, DECODER)

    assert (value.model, exact) == ("m", known)


@pytest.mark.parametrize("body", [*NOT_JSON.values(), *(body for body, _, _ in WRONG)])
def test_what_is_wrong_with_a_body_is_said_in_the_same_words_either_way(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_known(body, EXACT, DECODER)

    told = refusal(body)
    assert (caught.value.message, caught.value.param) == (told.message, told.param)


def test_a_range_includes_its_ends() -> None:
    check_range(0, "temperature", 0, 2)
    check_range(2, "temperature", 0, 2)
    check_range(None, "temperature", 0, 2)

    with pytest.raises(InvalidRequest, match="from 0 to 2") as caught:
        check_range(2.1, "temperature", 0, 2)
    assert caught.value.param == "temperature"


def test_a_field_that_is_missing_is_named() -> None:
    assert (required("model").param, required("model").message) == ("model", "`model` is required.")


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused_as_a_bad_request(body: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        decode_object(body, DECODER)
        given_fields(body)


@pytest.mark.parametrize("part", [b"{},", b"[],", b"1,", b'"a",'])
def test_c37_a_body_of_millions_of_parts_is_refused_before_it_is_decoded(part: bytes) -> None:
    body = b'{"options":{"a":[' + part * (12_000_000 // len(part)) + b"0]}}"

    with pytest.raises(InvalidJSON, match="holds more than"):
        decode_object(body, DECODER)


def test_a_long_picture_is_no_bomb() -> None:
    body = b'{"messages":[{"role":"user","content":"' + b"A" * 12_000_000 + b'"}]}'

    assert decode_object(body, DECODER).messages
