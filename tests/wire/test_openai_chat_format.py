"""What an answer must look like; vectors 42 to 44 have the rest."""

from typing import Any

import pytest
from chatting import WEATHER, native, plan, refused

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def wanted(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def test_references_are_resolved() -> None:
    schema = {"$defs": {"A": {"type": "string"}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}

    assert native(response_format=wanted(schema))["format"] == {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize("schema", [{}, True])
def test_a_schema_that_allows_everything_is_json(schema: Any) -> None:
    assert native(response_format=wanted(schema))["format"] == "json"


@pytest.mark.parametrize(
    ("response_format", "param"),
    [
        ({}, "response_format.type"),
        ({"type": "xml"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        (wanted(None), "response_format.json_schema.schema"),
        (wanted({"$ref": "https://example.com"}), "response_format.json_schema.schema"),
    ],
)
def test_a_format_that_cannot_be_made_is_named(response_format: Any, param: str) -> None:
    assert refused(response_format=response_format).param == param


def test_ollamas_own_format_is_taken() -> None:
    assert native(format="json")["format"] == "json"
    assert native(format=SCHEMA)["format"] == SCHEMA
    assert "format" not in native(format="")
    assert refused(format="xml").param == "format"


def test_ollamas_own_format_may_allow_everything() -> None:
    assert native(format={})["format"] == "json"
    assert "format" not in native(format="")


def test_response_format_wins_over_format_which_is_named_as_ignored() -> None:
    both = plan(response_format=wanted(SCHEMA), format="json")

    assert both.calls[0].request()["format"] == SCHEMA
    assert both.ignored == ("format",)


def test_beside_tools_the_answer_may_be_a_call_or_what_the_format_says() -> None:
    schemas = native(tools=[WEATHER], response_format=wanted(SCHEMA))["format"]["anyOf"]

    assert schemas[0]["properties"]["name"]["enum"] == ["get_weather"]
    assert schemas[1] == SCHEMA
    assert native(tools=[WEATHER], response_format={"type": "json_object"})["format"]["anyOf"][1] == {"type": "object"}


def test_a_demanded_call_leaves_no_room_for_a_format_which_is_named_as_ignored() -> None:
    forced = plan(tools=[WEATHER], tool_choice="required", response_format=wanted(SCHEMA))

    assert forced.calls[0].request()["format"]["properties"]["name"]["enum"] == ["get_weather"]
    assert forced.ignored == ("response_format",)


def test_the_format_holds_alone_when_no_tools_are_offered() -> None:
    assert native(tools=[WEATHER], tool_choice="none", response_format=wanted(SCHEMA))["format"] == SCHEMA
