"""The JSON schema of `config.yaml`, for editors that complete and check it: the core's sections and every installed plugin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tornado_gateway.config import Settings
from tornado_gateway.discovery import Found, PluginBroken

REFERENCE = {"type": "string", "pattern": r"\$\{.+\}", "description": "filled in from the environment"}
"""What may stand in the place of a number, besides the number."""


def schema(plugins: Iterable[Found]) -> dict[str, Any]:
    """Plugins that cannot be imported are left out."""
    described = Settings.model_json_schema()
    described["$defs"].pop("PluginEntry", None)
    described["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    described["title"] = "tornado-gateway config.yaml"
    known: list[dict[str, Any]] = []
    names: list[str] = []
    for plugin in plugins:
        try:
            cls = plugin.load()
        except PluginBroken:
            continue
        own = cls.Settings.model_json_schema(ref_template=f"#/$defs/{plugin.name}.{{model}}")
        described["$defs"] |= {f"{plugin.name}.{name}": part for name, part in own.pop("$defs", {}).items()}
        described["$defs"][plugin.name] = {"additionalProperties": False, **own, "description": plugin.doc}
        names.append(plugin.name)
        known.append(_entry(plugin.name, plugin.doc))
    described["properties"]["plugins"] = {
        "type": "array",
        "description": "In the order in which they are called.",
        "items": {"anyOf": [{"enum": names}, *known]},
    }
    _let_references_in(described)
    return described


def _entry(name: str, doc: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": doc,
        "properties": {name: {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]}},
        "required": [name],
        "additionalProperties": False,
    }


def _let_references_in(part: Any) -> None:
    """`${PORT:-3000}` is a text to an editor, and right all the same."""
    if isinstance(part, list):
        for inner in part:
            _let_references_in(inner)
    if not isinstance(part, dict):
        return
    for inner in part.values():
        _let_references_in(inner)
    if part.get("type") in ("integer", "number", "boolean"):
        kept = ("title", "description", "default")
        number = {name: part.pop(name) for name in list(part) if name not in kept}
        part["anyOf"] = [number, dict(REFERENCE)]
