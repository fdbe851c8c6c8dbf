"""Parameters of functions in the keywords that Ollama keeps."""

from typing import Any

import pytest

from tornado_gateway.errors import InvalidRequest
from tornado_gateway.wire.openai_chat_parameters import native_parameters


def native(schema: dict[str, Any]) -> dict[str, Any]:
    return native_parameters(schema, "tools[0].function.parameters")


def test_parameters_are_always_an_object_with_properties() -> None:
    assert native({}) == {"type": "object", "properties": {}}
    assert native({"type": ["object", "null"]}) == {"type": "object", "properties": {}}
    assert native({"foo": "bar"}) == {"foo": "bar", "type": "object", "properties": {}}


def test_what_ollama_keeps_is_not_changed() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": ["string", "null"], "description": "An a.", "enum": ["x", None]},
            "b": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "integer"}}, "required": ["c"]}},
        },
        "required": ["a"],
    }

    assert native(schema) == schema


def test_const_is_an_enum_of_one_and_one_of_is_any_of() -> None:
    schema = {"properties": {"a": {"const": 1}, "b": {"oneOf": [{"const": "x"}, {"type": "null"}]}}}

    assert native(schema)["properties"] == {"a": {"enum": [1]}, "b": {"anyOf": [{"enum": ["x"]}, {"type": "null"}]}}


def test_all_of_becomes_one_schema() -> None:
    first = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    second = {"allOf": [{"properties": {"b": {"type": "string"}}, "required": ["b"]}], "description": "Both."}

    assert native({"allOf": [first, second]}) == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "required": ["a", "b"],
        "description": "Both.",
    }


def test_limits_that_ollama_drops_are_told_in_the_description() -> None:
    schema = {
        "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 5}, "d": {"format": "date", "description": "A day."}}
    }

    properties = native(schema)["properties"]

    assert properties["n"]["description"] == "(minimum: 1, maximum: 5)"
    assert properties["d"]["description"] == "A day. (format: date)"


def test_limits_in_alternatives_are_told_there() -> None:
    schema = {"properties": {"n": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None}}}

    told = native(schema)["properties"]["n"]

    assert told["anyOf"][0]["description"] == "(minimum: 1)"
    assert told["description"] == "(default: null)"


def test_alternatives_at_the_root_show_the_properties_of_all() -> None:
    schema = {"oneOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"properties": {"b": {"type": "null"}}}]}

    assert native(schema) == {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "null"}}}


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("type", 5), ("type", [1]), ("description", []), ("enum", "a"), ("required", "a"), ("required", [1])],
)
def test_a_value_for_which_ollama_would_refuse_the_request_is_a_400(keyword: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        native({"properties": {"a": {keyword: value}}})

    assert caught.value.param == "tools[0].function.parameters"
    assert f"`{keyword}`" in caught.value.message
