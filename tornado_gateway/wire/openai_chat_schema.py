"""JSON Schema without references: what Ollama's grammar and the templates of models can use.

`$ref` is replaced by what it refers to, `$defs` disappear. A schema that refers to itself is unrolled for some levels; deeper
ones are cut so that whatever satisfies the result satisfies the original: an optional property is left out, a list
stays empty, an alternative is dropped. Only references are touched; everything else stays as the client wrote it, in its order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import msgspec

from tornado_gateway.errors import InvalidRequest

LEVELS = 4
"""How often a schema may stand inside itself."""
MAX_DEPTH = 100
_BYTES_A_STEP = 64

_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SINGLES = frozenset(
    {"additionalItems", "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"}
)
_DROPPED = frozenset({"$anchor", "$comment", "$defs", "$id", "$ref", "$schema", "definitions"})


class Budget:
    """How much work the schemas of one request may make: references can multiply a small body without end."""

    def __init__(self, steps: int = 20_000) -> None:
        self._steps = steps

    def spend(self, param: str, steps: int = 1) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise InvalidRequest(f"`{param}` is too large once its references are resolved.", param=param)


class _Endless(Exception):
    """This part of a schema needs a deeper level than there is; who holds it can do without it, or raises this again."""


def resolve(schema: Mapping[str, Any] | bool, param: str, budget: Budget) -> dict[str, Any]:
    """The schema without references. Raises `InvalidRequest` for one that cannot be resolved or never ends."""
    if isinstance(schema, bool):
        return {}
    try:
        return _Resolver(schema, param, budget).node(schema, 0)
    except _Endless as error:
        raise InvalidRequest(f"`{param}` refers to itself without end.", param=param) from error


class _Resolver:
    def __init__(self, root: Mapping[str, Any], param: str, budget: Budget) -> None:
        self._root = root
        self._param = param
        self._budget = budget
        self._open: dict[str, int] = {}
        self._sizes: dict[str, int] = {}

    def node(self, node: Any, depth: int) -> dict[str, Any]:
        """One schema; `true` and `false` become `{}`, since Ollama takes no booleans here."""
        self._budget.spend(self._param)
        if depth > MAX_DEPTH:
            raise InvalidRequest(f"`{self._param}` is nested too deeply.", param=self._param)
        if isinstance(node, bool):
            return {}
        if not isinstance(node, dict):
            raise self._not_a_schema("a schema must be an object")
        if "$ref" in node:
            return self._referred(node, depth)
        return self._keywords(node, depth)

    def _referred(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        """What is referred to, with the keywords beside the reference over it, as pydantic writes descriptions."""
        pointer = node["$ref"]
        target = self._target(pointer)
        with self._inside(pointer, target):
            return {**self.node(target, depth + 1), **self._keywords(node, depth)}

    @contextmanager
    def _inside(self, pointer: str, target: Any) -> Iterator[None]:
        if pointer in self._sizes:
            self._budget.spend(self._param, self._sizes[pointer])
        else:
            self._sizes[pointer] = len(msgspec.json.encode(target)) // _BYTES_A_STEP
        level = self._open.get(pointer, 0)
        if level >= LEVELS:
            raise _Endless
        self._open[pointer] = level + 1
        try:
            yield
        finally:
            self._open[pointer] = level

    def _target(self, pointer: Any) -> Any:
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            raise self._not_a_schema("a `$ref` must point into the schema itself, such as `#/$defs/Name`")
        target: Any = self._root
        for step in unquote(pointer).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and name in target:
                target = target[name]
            elif isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                target = target[int(name)]
            else:
                raise self._not_a_schema("a `$ref` points to nothing")
        return target

    def _keywords(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for keyword, value in node.items():
            if keyword in _MAPS:
                found[keyword] = self._map(keyword, value, node, depth)
            elif keyword in _LISTS:
                found[keyword] = self._list(keyword, value, depth)
            elif keyword in _SINGLES:
                self._single(keyword, value, found, node, depth)
            elif keyword not in _DROPPED:
                found.setdefault(keyword, value)
        return found

    def _map(self, keyword: str, schemas: Any, node: dict[str, Any], depth: int) -> dict[str, Any]:
        if not isinstance(schemas, dict):
            raise self._not_a_schema(f"`{keyword}` must be an object")
        needed = node.get("required")
        found: dict[str, Any] = {}
        for name, schema in schemas.items():
            try:
                found[name] = self.node(schema, depth + 1)
            except _Endless:
                if keyword != "properties" or (isinstance(needed, list) and name in needed):
                    raise
        return found

    def _list(self, keyword: str, schemas: Any, depth: int) -> list[dict[str, Any]]:
        if not isinstance(schemas, list) or not schemas:
            raise self._not_a_schema(f"`{keyword}` must be an array of schemas")
        found = []
        for schema in schemas:
            try:
                found.append(self.node(schema, depth + 1))
            except _Endless:
                if keyword not in ("anyOf", "oneOf"):
                    raise
        if not found:
            raise _Endless
        return found

    def _single(self, keyword: str, value: Any, found: dict[str, Any], node: dict[str, Any], depth: int) -> None:
        if isinstance(value, bool) and keyword != "items":
            found[keyword] = value
            return
        if isinstance(value, list) and keyword == "items":
            found[keyword] = self._list(keyword, value, depth)
            return
        try:
            found[keyword] = self.node(value, depth + 1)
        except _Endless:
            if keyword == "additionalProperties":
                found[keyword] = False
            elif keyword == "items" and not node.get("minItems"):
                found.update({"items": {}, "maxItems": 0})
            else:
                raise

    def _not_a_schema(self, reason: str) -> InvalidRequest:
        return InvalidRequest(f"`{self._param}` is not a JSON schema that can be used here: {reason}.", param=self._param)
