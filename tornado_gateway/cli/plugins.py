"""`plugins`: every plugin that is installed, what it is set to, and when it is called."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from tornado_gateway.cli.screen import complain, is_terminal, say
from tornado_gateway.cli.serve import config_option
from tornado_gateway.config import ConfigError
from tornado_gateway.discovery import Found, PluginBroken, available, implemented_hooks
from tornado_gateway.hookspecs import GatewayHooks
from tornado_gateway.loading import load

HOOKS = tuple(name for name, member in vars(GatewayHooks).items() if callable(member))


@dataclass(frozen=True, slots=True)
class Row:
    """One installed plugin, as it is shown."""

    name: str
    package: str
    place: int | None
    """Its place in the order of calls, from 1; None when it is off."""
    doc: str
    hooks: Sequence[str] = ()
    settings: Sequence[str] = ()
    broken: str | None = None


@click.command("plugins")
@config_option
def command(file: Path | None) -> int:
    """Show every plugin found: version, package, on or off, hooks, call order, settings with defaults."""
    problems: ConfigError | None = None
    try:
        order = [entry.name for entry in load(file).settings.plugins]
    except ConfigError as error:
        order, problems = [], error
    described, known = rows(available(), order), problems is None
    if is_terminal():
        _table(described, known=known)
    else:
        for row in described:
            _show(row, known=known)
    if problems is not None:
        complain("which are on is not known, since the configuration is wrong:")
        raise problems
    return 0


def rows(found: Sequence[Found], order: Sequence[str]) -> list[Row]:
    """Those that are on in the order of their calls, then the others by name."""
    described = [_row(plugin, order) for plugin in found]
    return sorted(described, key=lambda row: (row.place is None, row.place or 0, row.name))


def _row(plugin: Found, order: Sequence[str]) -> Row:
    place = order.index(plugin.name) + 1 if plugin.name in order else None
    package = f"{plugin.distribution} {plugin.version}"
    try:
        cls = plugin.load()
    except PluginBroken as broken:
        return Row(plugin.name, package, place, "", broken=str(broken))
    return Row(plugin.name, package, place, plugin.doc, tuple(implemented_hooks(cls, HOOKS)), tuple(_settings(cls.Settings)))


def _settings(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        yield name if default is PydanticUndefined else f"{name}={_as_text(default)}"


def _as_text(value: Any) -> str:
    return json.dumps(to_jsonable_python(value, fallback=str), ensure_ascii=False)


def _table(rows: Sequence[Row], *, known: bool) -> None:
    from rich.console import Console  # only a terminal pays for it
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=True)
    for heading in ("on", "plugin", "package", "hooks", "settings with defaults"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        name = Text.assemble((row.name, "bold"), f"\n{row.doc}")
        told = Text(row.broken, "red") if row.broken else Text("\n".join(row.settings))
        table.add_row(_state(row, known), name, row.package, "\n".join(row.hooks), told)
    Console().print(table)


def _state(row: Row, known: bool) -> str:
    return f"on, {row.place}." if row.place else "off" if known else "?"


def _show(row: Row, *, known: bool) -> None:
    say(f"{row.name}  {row.package}  {_state(row, known)}")
    if row.broken:
        complain(f"{row.name}: {row.broken}")
        return
    say(f"  {row.doc}")
    say(f"  hooks: {', '.join(row.hooks) or 'none'}")
    say(f"  settings: {', '.join(row.settings) or 'none'}")
