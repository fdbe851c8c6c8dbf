"""Values that satisfy schemas."""

import json
from typing import Any

import pytest

from tornado_gateway.testing.refusals import Refusal
from tornado_gateway.testing.shapes import answer, places, value

CASES: list[tuple[dict[str, Any], Any]] = [
    ({"type": "string"}, "in Rome"),
    ({"type": "integer"}, 1),
    ({"type": "integer", "minimum": 5, "maximum": 9}, 5),
    ({"type": "number", "exclusiveMaximum": 1}, 0.5),
    ({"type": "integer", "multipleOf": 7}, 7),
    ({"type": "boolean"}, True),
    ({"type": "null"}, None),
    ({"type": ["null", "string"]}, None),
    ({"const": {"a": 1}}, {"a": 1}),
    ({"enum": ["celsius", "kelvin"]}, "celsius"),
    ({"type": "string", "maxLength": 2}, "in"),
    ({"type": "string", "minLength": 9}, "in Rome.."),
    ({"type": "string", "format": "date"}, "2026-11-23"),
    ({"type": "array", "items": {"type": "integer"}}, [1]),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [1, 1, 1]),
    ({"type": "array", "items": {"type": "integer"}, "maxItems": 0}, []),
    ({"type": "array", "prefixItems": [{"type": "null"}, {"const": 2}]}, [None, 2]),
    ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
    ({"oneOf": [{"const": "x"}]}, "x"),
    ({"properties": {"city": {"type": "string"}}, "required": ["city", "more"]}, {"city": "Rome", "more": "in Rome"}),
    ({"$ref": "#/$defs/x", "$defs": {"x": {"const": 3}}}, 3),
    ({"allOf": [{"properties": {"a": {"const": 1}}}, {"$ref": "#/$defs/b"}], "$defs": {"b": {"properties": {"b": {"const": 2}}}}}, {"a": 1, "b": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "expected"), CASES)
def test_a_value_satisfies_its_schema(schema: dict[str, Any], expected: Any) -> None:
    assert value(schema, "in Rome") == expected


def test_an_enumeration_takes_what_the_text_mentions() -> None:
    assert value({"enum": ["celsius", "kelvin"]}, "how many Kelvin?") == "kelvin"


def test_a_schema_that_contains_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]}

    found = value(node, "x")

    depth = 0
    while found is not None:
        found, depth = found["next"], depth + 1
    assert depth < 30


def test_a_list_that_contains_itself_ends() -> None:
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}, "required": ["children"]}

    assert json.dumps(value(tree, "x"))


def test_a_schema_that_can_never_end_still_does() -> None:
    assert json.dumps(value({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "x"))


@pytest.mark.parametrize(
    "schema", [{"type": "nonsense"}, {"$ref": "#/nowhere"}, {"$ref": "http://x"}, {"properties": {"a": 1}}]
)
def test_a_schema_that_cannot_be_read_is_refused_as_the_runner_does(schema: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match="JSON schema conversion failed") as refusal:
        answer(schema, "x")

    assert (refusal.value.status, refusal.value.by_runner) == (400, True)
    assert json.loads(refusal.value.text)["error"]["code"] == 400


@pytest.mark.parametrize("schema", ["JSON", True, [], 1])
def test_a_format_that_is_no_schema_is_a_500(schema: Any) -> None:
    with pytest.raises(Refusal, match=r"^invalid format: ") as refusal:
        answer(schema, "x")

    assert refusal.value.status == 500


@pytest.mark.parametrize("schema", ["json", {}])
def test_json_alone_is_an_object(schema: Any) -> None:
    assert isinstance(json.loads(answer(schema, 'say "hi"')), dict)


def test_places_are_found_once_and_in_order() -> None:
    assert places("What is the weather in Paris, Rome and New York, and in Paris?") == ["Paris", "Rome", "New York"]
