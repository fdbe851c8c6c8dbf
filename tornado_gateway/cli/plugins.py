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

from tornado_gateway.cli.screen import complain, say
from tornado_gateway.cli.serve import config_option
from tornado_gateway.config import ConfigError, Settings
from tornado_gateway.discovery import Found, PluginBroken, available, implemented_hooks
from tornado_gateway.hookspecs import GatewayHooks
from tornado_gateway.loading import load

Times = dict[str, dict[str, float]]
"""As `Hooks.times`."""

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
    times: Sequence[str] = ()
    """What its hooks cost, where that was measured."""


@click.command("plugins")
@config_option
@click.option(
    "--measure",
    is_flag=True,
    help="Also show the time spent per hook: made-up requests pass through the plugins that are on, which do their work (a log gets its lines).",
)
def command(file: Path | None, measure: bool) -> int:
    """Show every plugin found: version, package, on or off, hooks, call order, settings with defaults."""
    problems: ConfigError | None = None
    order: list[str] = []
    times: Times = {}
    try:
        settings = load(file).settings
        order = [entry.name for entry in settings.plugins]
        times = _measured(settings) if measure else {}
    except ConfigError as error:
        problems = error
    for row in rows(available(), order, times):
        _show(row, known=problems is None)
    if problems is not None:
        complain("which are on is not known, since the configuration is wrong:")
        raise problems
    if not measure:
        say(
            "Time spent per hook: `tornado-gateway plugins --measure`; a server logs it as `hook_times` when it stops.",
            dim=True,
        )
    return 0


def _measured(settings: Settings) -> Times:
    import asyncio  # only who measures pays for it
    import contextlib
    import io

    from tornado_gateway.cli.measure import measured

    with (
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):  # a log's lines are not wanted here
        return asyncio.run(measured(settings))


def rows(found: Sequence[Found], order: Sequence[str], times: Times | None = None) -> list[Row]:
    """Those that are on in the order of their calls, then the others by name."""
    described = [_row(plugin, order, times or {}) for plugin in found]
    return sorted(described, key=lambda row: (row.place is None, row.place or 0, row.name, row.package))


def _row(plugin: Found, order: Sequence[str], times: Times) -> Row:
    place = order.index(plugin.name) + 1 if plugin.name in order else None
    package = f"{plugin.distribution} {plugin.version}"
    try:
        cls = plugin.load()
    except PluginBroken as broken:
        return Row(plugin.name, package, place, "", broken=str(broken))
    hooks = tuple(implemented_hooks(cls, HOOKS))
    return Row(
        plugin.name,
        package,
        place,
        plugin.doc,
        hooks,
        tuple(_settings(cls.Settings)),
        times=tuple(_time(hook, times[f"{plugin.name}.{hook}"]) for hook in hooks if f"{plugin.name}.{hook}" in times),
    )


def _time(hook: str, spent: dict[str, float]) -> str:
    # A call that waits has several stretches: the longest of them may be shorter than a call in the mean.
    failed = f", {spent['failures']:.0f} of {spent['calls']:.0f} failed" if spent["failures"] else ""
    return f"{hook} {spent['ms'] * 1000 / spent['calls']:.1f} µs (longest stretch {spent['longest_ms'] * 1000:.1f}{failed})"


def _settings(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        yield name if default is PydanticUndefined else f"{name}={_as_text(default)}"


def _as_text(value: Any) -> str:
    return json.dumps(to_jsonable_python(value, fallback=str), ensure_ascii=False)


def _state(row: Row, known: bool) -> str:
    return f"on, {row.place}." if row.place else "off" if known else "?"


def _show(row: Row, *, known: bool) -> None:
    say(f"{row.name}  {row.package}  {_state(row, known)}", bold=True)
    if row.broken:
        complain(f"{row.name}: {row.broken}")
        return
    say(f"  {row.doc}")
    say(f"  hooks: {', '.join(row.hooks) or 'none'}")
    if row.times:
        say(f"  time per call: {', '.join(row.times)}")
    say(f"  settings: {', '.join(row.settings) or 'none'}")
