"""Commands that plugins add: those of the plugins that are on in the configuration that would count without `-c`."""

from __future__ import annotations

import click

from tornado_gateway.cli.screen import complain, warn
from tornado_gateway.config import ConfigError
from tornado_gateway.discovery import build_plugins, implemented_hooks
from tornado_gateway.loading import load


def plugin_commands() -> dict[str, click.Command]:
    """By name; of a name that two plugins offer, the first one's. A plugin that cannot say is reported and left out."""
    found: dict[str, click.Command] = {}
    try:
        plugins = build_plugins(load().settings)
    except ConfigError:
        warn("the configuration is wrong, so commands of plugins are not known: `tornado-gateway check` tells more")
        return found
    for name, plugin in plugins:
        if not list(implemented_hooks(type(plugin), ["commands"])):
            continue
        try:
            for command in plugin.commands():  # type: ignore[attr-defined]  # it carries the contract's mark
                if isinstance(command, click.Command) and command.name:
                    found.setdefault(command.name, command)
        except Exception as error:  # noqa: BLE001  # one plugin's failure is not the program's
            complain(f"plugin {name} cannot say which commands it has: {type(error).__name__}: {error}")
    return found
