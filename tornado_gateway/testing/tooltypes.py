"""Tools and tool calls in a request, as Ollama's structs take them: narrower than JSON schema, and strict about types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tornado_gateway.testing import gojson
from tornado_gateway.testing.refusals import Refusal
from tornado_gateway.testing.values import array

BAD_ARGUMENTS = "Value looks like object, but can't find closing '}' symbol"


def tool_calls(value: Any, path: str) -> list[dict[str, Any]]:
    """Calls of the history. Raises `Refusal` (400)."""
    calls = array(value, path, "[]api.ToolCall")
    for call in calls:
        function = _part(_object(call, path, "api.ToolCall"), "function", path, "api.ToolCallFunction")
        _texts(call, ("id",), path)
        _texts(function, ("name",), f"{path}.function")
        if not isinstance(function.get("arguments", {}) or {}, dict) or function.get("arguments") == "":
            raise Refusal(400, BAD_ARGUMENTS)
    return calls


def tools(value: Any, path: str) -> list[dict[str, Any]]:
    """Tools on offer. Raises `Refusal` (400)."""
    offered = array(value, path, "api.Tools")
    for tool in offered:
        function = _part(_object(tool, path, "api.Tool"), "function", path, "api.ToolFunction")
        _texts(tool, ("type",), path)
        _texts(function, ("name", "description"), f"{path}.function")
        _check_parameters(
            _part(function, "parameters", f"{path}.function", "api.ToolFunctionParameters"), f"{path}.function.parameters"
        )
    return offered


def _check_parameters(parameters: Mapping[str, Any], path: str) -> None:
    """Ollama's struct knows objects with one type; a boolean schema or a list of types is a type error."""
    _texts(parameters, ("type",), path)
    _strings(parameters, "required", path)
    properties = _part(parameters, "properties", path, "map[string]api.ToolProperty")
    for item in properties.values():
        if item is None:
            continue
        _texts(_object(item, f"{path}.properties", "api.ToolProperty"), ("description",), f"{path}.properties")
        _strings(item, "required", f"{path}.properties")
        if item.get("enum") is not None:
            array(item["enum"], f"{path}.properties.enum", "[]interface {}")


def _object(value: Any, path: str, go_type: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Refusal(400, gojson.misfit(value, path, go_type))
    return value


def _part(value: Mapping[str, Any], name: str, path: str, go_type: str) -> Mapping[str, Any]:
    found = value.get(name)
    return {} if found is None else _object(found, f"{path}.{name}", go_type)


def _texts(value: Mapping[str, Any], names: tuple[str, ...], path: str) -> None:
    for name in names:
        if value.get(name) is not None and not isinstance(value[name], str):
            raise Refusal(400, gojson.misfit(value[name], f"{path}.{name}", "string"))


def _strings(value: Mapping[str, Any], name: str, path: str) -> None:
    if value.get(name) is None:
        return
    for item in array(value[name], f"{path}.{name}", "[]string"):
        if not isinstance(item, str):
            raise Refusal(400, gojson.misfit(item, f"{path}.{name}", "string"))
