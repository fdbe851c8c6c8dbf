"""Tools and calls of a history as Ollama's structs take them."""

from typing import Any

import pytest

from tornado_gateway.testing.refusals import Refusal
from tornado_gateway.testing.tooltypes import tool_calls, tools


@pytest.mark.parametrize(
    "value",
    [
        {},
        [1],
        [{"function": 1}],
        [{"function": {"name": 1}}],
        [{"function": {"parameters": []}}],
        [{"function": {"parameters": {"type": ["object"]}}}],
        [{"function": {"parameters": {"required": "a"}}}],
        [{"function": {"parameters": {"required": [1]}}}],
        [{"function": {"parameters": {"properties": {"a": True}}}}],
        [{"function": {"parameters": {"properties": {"a": {"enum": 1}}}}}],
    ],
)
def test_a_tool_of_the_wrong_type_is_refused_by_its_field(value: Any) -> None:
    with pytest.raises(Refusal, match=r"^json: cannot unmarshal \w+ into Go struct field ChatRequest\.tools"):
        tools(value, "ChatRequest.tools")


def test_unknown_keys_of_a_schema_pass() -> None:
    offered = [
        {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"properties": {"a": {"$ref": "#"}}}}}
    ]

    assert tools(offered, "ChatRequest.tools") == offered


@pytest.mark.parametrize("arguments", ['{"city":"Paris"}', "", [1], 5])
def test_arguments_are_an_object(arguments: Any) -> None:
    with pytest.raises(Refusal, match="Value looks like object, but can't find closing"):
        tool_calls([{"function": {"name": "f", "arguments": arguments}}], "x")


@pytest.mark.parametrize("arguments", [None, {}, {"a": 1}])
def test_arguments_may_be_missing(arguments: Any) -> None:
    assert tool_calls([{"id": "a", "function": {"name": "f", "arguments": arguments}}], "x")
