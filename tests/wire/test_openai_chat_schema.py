"""References are resolved, and what satisfies the result satisfies the original."""

import itertools
import json
import time
from typing import Any

import pytest

from tornado_gateway.errors import InvalidRequest
from tornado_gateway.wire.openai_chat_schema import LEVELS, Budget, resolve


def resolved(schema: Any) -> dict[str, Any]:
    return resolve(schema, "format", Budget())


def refusal(schema: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        resolved(schema)
    assert caught.value.param == "format"
    return caught.value


def depth_of(schema: dict[str, Any], *path: str) -> int:
    depth = 0
    while True:
        for step in path:
            if not isinstance(schema, dict) or step not in schema:
                return depth
            schema = schema[step]
        depth += 1


def test_a_schema_without_references_is_not_changed() -> None:
    schema = {
        "type": "object",
        "title": "A",
        "properties": {"b": {"type": "string", "pattern": "^x$"}, "a": {"enum": [{"$ref": "#/nowhere"}]}},
        "required": ["b"],
        "additionalProperties": False,
    }

    assert json.dumps(resolved(schema)) == json.dumps(schema)


def test_a_reference_is_replaced_by_what_it_refers_to_and_definitions_disappear() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"City": {"type": "string"}, "Place": {"type": "object", "properties": {"city": {"$ref": "#/$defs/City"}}}},
        "type": "array",
        "items": {"$ref": "#/$defs/Place"},
    }

    assert resolved(schema) == {
        "type": "array",
        "items": {"type": "object", "properties": {"city": {"type": "string"}}},
    }


def test_keywords_beside_a_reference_win() -> None:
    schema = {"$defs": {"A": {"type": "string", "description": "old"}}, "$ref": "#/$defs/A", "description": "new"}

    assert resolved(schema) == {"type": "string", "description": "new"}


def test_pointers_are_unescaped() -> None:
    schema = {
        "definitions": {"a/b~c d": {"type": "null"}},
        "anyOf": [{"$ref": "#/definitions/a~1b~0c%20d"}, {"$ref": "#/anyOf/0"}],
    }

    assert resolved(schema) == {"anyOf": [{"type": "null"}, {"type": "null"}]}


def test_properties_may_be_named_as_keywords_are() -> None:
    schema = {"type": "object", "properties": {"$ref": {"type": "string"}, "$defs": True, "properties": {"const": {"$ref": 1}}}}

    assert resolved(schema) == {
        "type": "object",
        "properties": {"$ref": {"type": "string"}, "$defs": {}, "properties": {"const": {"$ref": 1}}},
    }


def test_an_optional_property_that_recurs_is_left_out_below_some_levels() -> None:
    schema = {"type": "object", "properties": {"value": {"type": "integer"}, "next": {"$ref": "#"}}}

    assert depth_of(resolved(schema), "properties", "next") == LEVELS


def test_a_list_that_recurs_is_empty_below_some_levels() -> None:
    node = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}, "required": ["children"]}

    found = resolved(node)

    for _ in range(LEVELS):
        found = found["properties"]["children"]["items"]
    assert found["properties"]["children"] == {"type": "array", "items": {}, "maxItems": 0}


def test_an_alternative_that_recurs_is_dropped_below_some_levels() -> None:
    schema = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    }

    found = resolved(schema)

    for _ in range(LEVELS):
        found = found["properties"]["next"]["anyOf"][0]
    assert found["properties"]["next"] == {"anyOf": [{"type": "null"}]}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"allOf": [{"$ref": "#"}]},
        {"anyOf": [{"$ref": "#"}]},
    ],
)
def test_a_schema_that_nothing_finite_satisfies_is_refused(schema: Any) -> None:
    assert "without end" in refusal(schema).message


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "https://example.com/schema.json"}, "point into the schema itself"),
        ({"$ref": "#anchor"}, "point into the schema itself"),
        ({"$ref": 5}, "point into the schema itself"),
        ({"$ref": "#/$defs/missing"}, "points to nothing"),
        ({"$ref": "#/enum/7", "enum": [1]}, "points to nothing"),
        ({"properties": []}, "`properties` must be an object"),
        ({"properties": {"a": 5}}, "a schema must be an object"),
        ({"anyOf": {}}, "`anyOf` must be an array of schemas"),
        ({"anyOf": []}, "`anyOf` must be an array of schemas"),
        ({"items": "string"}, "a schema must be an object"),
    ],
)
def test_what_is_not_a_schema_is_refused_with_the_reason(schema: Any, words: str) -> None:
    assert words in refusal(schema).message


def test_a_schema_that_its_references_multiply_is_refused_before_it_grows() -> None:
    names = "abcdefghij"
    laughs = {name: {"anyOf": [{"$ref": f"#/$defs/{after}"}] * 10} for name, after in itertools.pairwise(names)}
    started = time.perf_counter()

    error = refusal({"$defs": {**laughs, "j": {"const": "ha" * 1000}}, "$ref": "#/$defs/a"})

    assert "too large" in error.message
    assert time.perf_counter() - started < 2


def test_a_schema_that_is_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"items": schema}

    assert "too deeply" in refusal(schema).message


def test_a_boolean_is_the_schema_that_allows_everything() -> None:
    assert resolved(True) == {}
    assert resolved({"items": True, "additionalProperties": False}) == {"items": {}, "additionalProperties": False}
