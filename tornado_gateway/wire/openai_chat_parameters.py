"""The parameters of a function in the small JSON Schema that Ollama hands to a model's template.

Ollama keeps `type`, `description`, `enum`, `items`, `properties`, `required` and `anyOf` of a parameter and drops every other
keyword in silence; some of its templates fail on what they do not expect. So the keywords that say the same are rewritten, and the
limits that have no other place are put into the description, where the model reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tornado_gateway.errors import InvalidRequest

_TOLD = (
    "format",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "default",
)
"""Keywords that Ollama drops and that a model can follow when it is told."""


def native_parameters(schema: Mapping[str, Any], param: str) -> dict[str, Any]:
    """Parameters without references (see `openai_chat_schema`) as Ollama takes them: always an object with properties."""
    parameters = _rewritten(_merged(dict(schema)), param)
    properties = dict(parameters.get("properties", ()))
    # Ollama has no place for alternatives at the root: the properties of all are shown, none is required.
    for alternative in parameters.pop("anyOf", ()):
        properties = {**alternative.get("properties", {}), **properties}
    return {**parameters, "type": "object", "properties": properties}


def _rewritten(node: dict[str, Any], param: str) -> dict[str, Any]:
    _check(node, param)
    found = dict(node)
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if alternatives := found.pop("oneOf", None):
        found["anyOf"] = [*found.get("anyOf", ()), *alternatives]
    if "anyOf" in found:
        found["anyOf"] = [_described(_rewritten(_merged(dict(each)), param)) for each in found["anyOf"]]
    if isinstance(found.get("items"), dict):
        found["items"] = _rewritten(_merged(found["items"]), param)
    if "properties" in found:
        found["properties"] = {name: _described(_rewritten(_merged(each), param)) for name, each in found["properties"].items()}
    return found


def _merged(node: dict[str, Any]) -> dict[str, Any]:
    """`allOf` made one schema: properties and required names together, of other keywords the first that says something."""
    merged = {keyword: value for keyword, value in node.items() if keyword != "allOf"}
    for part in node.get("allOf", ()):
        for keyword, value in _merged(part).items():
            present = merged.setdefault(keyword, value)
            if keyword == "properties" and isinstance(present, dict) and isinstance(value, dict):
                merged[keyword] = {**value, **present}
            elif keyword == "required" and isinstance(present, list) and isinstance(value, list):
                merged[keyword] = [*present, *(name for name in value if name not in present)]
    return merged


def _described(node: dict[str, Any]) -> dict[str, Any]:
    told = [f"{keyword}: {_said(node[keyword])}" for keyword in _TOLD if keyword in node]
    if not told:
        return node
    description = node.get("description", "")
    return {**node, "description": f"{description} ({', '.join(told)})".strip()}


def _said(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _check(node: Mapping[str, Any], param: str) -> None:
    """Ollama decodes these keywords into fixed types, and refuses the whole request for a value of another."""
    types = node.get("type", "")
    wrong = (
        ("type", not (isinstance(types, str) or _texts(types))),
        ("description", not isinstance(node.get("description", ""), str)),
        ("enum", not isinstance(node.get("enum", []), list)),
        ("required", not _texts(node.get("required", []))),
    )
    for keyword, fault in wrong:
        if fault:
            raise InvalidRequest(f"`{param}` is not a JSON schema: its `{keyword}` has a value of the wrong kind.", param=param)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
