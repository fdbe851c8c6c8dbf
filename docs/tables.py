"""Prints the parts of the documentation that the code knows better: called by cog from the pages themselves (`make docs`)."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import outcomes
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from tornado_gateway.cli.plugins import HOOKS
from tornado_gateway.config import (
    LimitsSettings,
    ModelDefaults,
    ModelsSettings,
    ServerSettings,
    Settings,
    TLSSettings,
    UpstreamSettings,
)
from tornado_gateway.discovery import available, implemented_hooks
from tornado_gateway.hookspecs import GatewayHooks

ROOT = Path(__file__).parent.parent
QUESTIONS = ("When", "Order", "An answer", "Raising", "Guaranteed")


def hooks() -> str:
    """A heading for each hook with its exact signature, then its docstring."""
    return "\n".join(_hook(name) for name in HOOKS)


def misbehaviour() -> str:
    """What becomes of a request when a plugin breaks the contract."""
    return outcomes.table()


def _hook(name: str) -> str:
    hook = getattr(GatewayHooks, name)
    signature = inspect.signature(hook)
    parameters = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    shown = signature.replace(parameters=parameters)
    kind = "async def" if inspect.iscoroutinefunction(hook) else "def"
    users = [
        plugin.name
        for plugin in available()
        if list(implemented_hooks(plugin.load(), [name])) and plugin.distribution == "tornado-gateway"
    ]
    used = f"\nBundled plugins that use it: {', '.join(users)}.\n" if users else ""
    used += f"\nExamples that use it: {', '.join(examples)}.\n" if (examples := example_users(name)) else ""
    return f"## {name}\n\n```python\n{kind} {name}{str(shown).replace(chr(39), '')}\n```\n\n{_prose(inspect.getdoc(hook) or '')}\n{used}"


def example_users(hook: str) -> list[str]:
    """The example packages that implement a hook: read from their source, since they need not be installed."""
    marked = re.compile(rf"@hookimpl\s+(?:async )?def {hook}\(")
    sources = sorted(ROOT.glob("examples/*/*.py"))
    return sorted(
        {f"[{path.parent.name}](../examples/{path.parent.name})" for path in sources if marked.search(path.read_text("utf-8"))}
    )


def _prose(doc: str) -> str:
    """A docstring's paragraphs; each of the questions becomes an item of a list."""
    items: list[str] = []
    for line in doc.splitlines():
        question = next((word for word in QUESTIONS if line.startswith(f"{word}:")), None)
        if question:
            items.append(f"- **{question}:**{line.removeprefix(question + ':')}")
        elif items and line and items[-1].startswith("- "):
            items[-1] += f" {line.strip()}"
        else:
            items.append(line)
    return "\n".join(items)


def settings() -> str:
    """A table for each section of the core."""
    sections: tuple[tuple[str, type[BaseModel]], ...] = (
        ("server", ServerSettings),
        ("server.tls", TLSSettings),
        ("upstream", UpstreamSettings),
        ("models", ModelsSettings),
        ("models.defaults.NAME", ModelDefaults),
        ("limits", LimitsSettings),
    )
    return "\n".join(f"### {name}\n\n{model.__doc__}\n\n{_table(model)}" for name, model in sections)


def plugin_settings() -> str:
    """A table for each bundled plugin, and one for each model within its settings."""
    parts: list[str] = []
    on = [entry.name for entry in Settings().plugins]
    bundled = [plugin for plugin in available() if plugin.distribution == "tornado-gateway"]
    for plugin in sorted(bundled, key=lambda plugin: on.index(plugin.name)):
        model = plugin.load().Settings
        parts.append(f"### {plugin.name}\n\n{plugin.doc}\n\n{_table(model)}")
        parts.extend(f"`{name}`, each:\n\n{_table(inner)}" for name, inner in _nested(model))
    return "\n".join(parts)


def _table(model: type[BaseModel]) -> str:
    rows = ["| key | default | what it says |", "|---|---|---|"]
    described = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        default = (
            "must be given"
            if field.is_required()
            else f"`{_text(field.get_default(call_default_factory=True, validated_data={}))}`"
        )
        rows.append(
            f"| `{name}` | {default} | {described[name].get('description', '').replace(chr(10), ' ').replace('|', chr(92) + '|')} |"
        )
    return "\n".join(rows) + "\n"


def _text(value: Any) -> str:
    plain = to_jsonable_python(value, fallback=str)
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    return json.dumps(plain, ensure_ascii=False)


def _nested(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        for inner in _models_in(field.annotation):
            yield name, inner


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models_in(part)
