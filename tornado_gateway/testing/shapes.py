"""JSON values that satisfy a schema, as constrained decoding gives them. Pure, and the same for the same schema and text.

It reads what llama.cpp's grammar reads: type, properties, required, enum, const, items, prefixItems, anyOf, oneOf, allOf,
local `$ref`, bounds of length and number, and the usual formats. A pattern is satisfied only where a likely word does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tornado_gateway.testing.gojson import encode
from tornado_gateway.testing.refusals import Refusal, runner_refusal

_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_FORMATS = {
    "date": "2026-11-23",
    "date-time": "2026-11-23T02:07:58Z",
    "time": "02:07:58Z",
    "email": "ada@example.com",
    "uuid": "6f1b1f6e-2f0c-4a7e-9d53-0c1d2e3f4a5b",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
}
_LIKELY = {
    "city": "Paris", "location": "Paris", "place": "Paris", "country": "France", "name": "Ada", "first_name": "Ada",
    "last_name": "Lovelace", "unit": "celsius", "language": "English", "title": "A title", "color": "blue", "currency": "EUR",
}  # fmt: skip
_PLACE_KEYS = frozenset({"city", "location", "place", "town"})
_PLACE = re.compile(r"\b(?:in|for|at|of|near|and|or|,)\s+([A-Z][\w'-]+(?: [A-Z][\w'-]+)*)")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_MAX_DEPTH = 12


def answer(schema: Any, text: str) -> str:
    """What the model writes when `format` is given. Raises `Refusal` as Ollama does for a format that it cannot use."""
    if schema == "json" or schema == {}:
        return json.dumps({"answer": _short(text)}, indent=2, ensure_ascii=False)
    if not isinstance(schema, dict):
        shown = encode(encode(schema).decode()).decode().replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&")
        raise Refusal(500, f'invalid format: {shown}; expected "json" or a valid JSON Schema object')
    return json.dumps(value(schema, text), indent=2, ensure_ascii=False)


def value(schema: Any, text: str, *, only_required: bool = False) -> Any:
    """A value for the schema that has to do with the text. `only_required` leaves out what the schema does not insist on.

    Raises `Refusal` for what is no schema.
    """
    try:
        return _Shaper(schema, text, only_required=only_required).shape(schema, "", 0)
    except (TypeError, AttributeError, ValueError, LookupError, ArithmeticError, RecursionError) as error:
        # Keywords with values of the wrong type: in llama.cpp too any of them ends the conversion.
        raise _unreadable(f"Unrecognized schema: {encode(schema).decode()[:1000]}") from error


def places(text: str) -> list[str]:
    """Names of places in a sentence, each once, in order."""
    return list(dict.fromkeys(_PLACE.findall(text)))


def takes_place(parameters: Mapping[str, Any]) -> bool:
    return not _PLACE_KEYS.isdisjoint(parameters.get("properties") or {})


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line[:80] or "yes"


class _Shaper:
    def __init__(self, root: Any, text: str, *, only_required: bool) -> None:
        self._root = root
        self._text = text
        self._only_required = only_required

    def shape(self, schema: Any, key: str, depth: int) -> Any:
        if schema is True or schema is None:
            return self._string({}, key)
        if not isinstance(schema, dict):
            raise _unreadable(f"Unrecognized schema: {encode(schema).decode()}")
        if "$ref" in schema:
            return self.shape(self._resolved(schema["$ref"]), key, depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._chosen(schema["enum"])
        options = schema.get("anyOf") or schema.get("oneOf")
        if options:
            return self.shape(_simplest(options) if depth >= _MAX_DEPTH else options[0], key, depth + 1)
        if schema.get("allOf"):
            return self.shape(self._merged(schema), key, depth + 1)
        return self._typed(schema, key, depth)

    def _typed(self, schema: Mapping[str, Any], key: str, depth: int) -> Any:
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, key, depth)
            case "integer":
                return round(self._number(schema, step=1))
            case "number":
                return self._number(schema, step=0.5)
            case "boolean":
                return "not " not in self._text
            case "null":
                return None
            case _:
                return self._string(schema, key)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        bare = self._only_required or depth >= _MAX_DEPTH
        names = [name for name in properties if name in required or not bare]
        if depth > 4 * _MAX_DEPTH:
            return {}
        made = {name: self.shape(properties[name], name, depth + 1) for name in names}
        return made | {name: self._string({}, name) for name in required if name not in properties}

    def _array(self, schema: Mapping[str, Any], key: str, depth: int) -> list[Any]:
        first = [self.shape(item, key, depth + 1) for item in schema.get("prefixItems") or ()]
        least = schema.get("minItems", 0 if first or depth >= _MAX_DEPTH else 1)
        most = schema.get("maxItems", max(least, len(first)))
        missing = max(0, min(least, most) - len(first))
        return first + [self.shape(schema.get("items", True), key, depth + 1) for _ in range(missing)]

    def _number(self, schema: Mapping[str, Any], step: float) -> float:
        found = _NUMBER.search(self._text)
        number = float(found.group()) if found else 1.0
        if step == 1:
            number = round(number)
        low, high = schema.get("minimum"), schema.get("maximum")
        low = schema["exclusiveMinimum"] + step if schema.get("exclusiveMinimum") is not None else low
        high = schema["exclusiveMaximum"] - step if schema.get("exclusiveMaximum") is not None else high
        number = max(number, low) if low is not None else number
        number = min(number, high) if high is not None else number
        factor = schema.get("multipleOf")
        return -(-number // factor) * factor if factor else number

    def _string(self, schema: Mapping[str, Any], key: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        named = places(self._text)
        if key in _PLACE_KEYS and (named or " " not in self._text.strip()):
            made = named[0] if named else self._text.strip() or _LIKELY[key]
        else:
            made = _LIKELY.get(key) or _short(self._text)
        made = made.ljust(schema.get("minLength", 0), ".")
        return made[: schema["maxLength"]] if schema.get("maxLength") is not None else made

    def _chosen(self, options: Sequence[Any]) -> Any:
        lowered = self._text.lower()
        mentioned = [option for option in options if isinstance(option, str) and len(option) > 1 and option.lower() in lowered]
        return mentioned[0] if mentioned else options[0]

    def _resolved(self, reference: Any) -> Any:
        target = self._root
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _unreadable(f"Unsupported ref: {reference}")
        for part in reference.removeprefix("#").strip("/").split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if part and (not isinstance(target, dict) or name not in target):
                raise _unreadable(f"Error resolving ref {reference}: {name} not in {encode(target).decode()}")
            target = target[name] if part else target
        return target

    def _merged(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
        for part in [*schema["allOf"], {name: item for name, item in schema.items() if name != "allOf"}]:
            whole = self._resolved(part["$ref"]) if "$ref" in part else part
            properties = {**merged["properties"], **(whole.get("properties") or {})}
            required = [*merged["required"], *(whole.get("required") or [])]
            merged = {**merged, **whole, "properties": properties, "required": required}
        return merged


def _type_of(schema: Mapping[str, Any]) -> str:
    """The schema's type, or what its other keys imply. Raises `Refusal` for one that does not exist."""
    given = schema.get("type")
    kinds = given if isinstance(given, list) else [given]
    for kind in kinds:
        if kind is not None and kind not in _TYPES:
            raise _unreadable(f"Unrecognized schema: {_dumped(schema)}")
    if kinds[0] is not None:
        return str(kinds[0])
    if "properties" in schema or "additionalProperties" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _simplest(options: Sequence[Any]) -> Any:
    return next((option for option in options if isinstance(option, dict) and option.get("type") == "null"), options[-1])


def _dumped(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


def _unreadable(why: str) -> Refusal:
    return runner_refusal(f"Field 'json_schema': \"json_schema\": JSON schema conversion failed:\n{why}")
