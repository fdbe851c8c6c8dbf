"""`check`: everything that is wrong with a configuration, before a server meets it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import click

from tornado_gateway.app import check_open_door
from tornado_gateway.cli.screen import complain, say, warn
from tornado_gateway.cli.serve import config_option
from tornado_gateway.config import ConfigError, Problem, Settings
from tornado_gateway.discovery import build_plugins
from tornado_gateway.errors import GatewayError
from tornado_gateway.hooks import Hooks
from tornado_gateway.hookspecs import StartupRefused
from tornado_gateway.loading import BUILT_IN, Loaded, load
from tornado_gateway.tls import tls_context
from tornado_gateway.upstream import Ollama, UpstreamOptions

ASK_SECONDS = 10.0


@click.command("check")
@config_option
@click.option("--upstream", "ask", is_flag=True, help="Also ask Ollama for its version and its models.")
def command(file: Path | None, ask: bool) -> int:
    """Validate the configuration: all errors at once, with file, line and key path. Exits with 0 or 2."""
    loaded = load(file, files=True)
    if problems := list(_refusals(loaded)):
        raise ConfigError(problems)
    warning = loaded.exposed()
    if warning:
        warn(warning)
    say(f"{loaded.file or 'the built-in configuration'} is valid", fg="green")
    return asyncio.run(check_upstream(loaded.settings)) if ask else 0


def _refusals(loaded: Loaded) -> Iterator[Problem]:
    """Why `serve` would not begin with settings that are right one by one: asked in the way in which it asks."""
    for look in (tls_context, _look_at_plugins):
        try:
            look(loaded.settings)
        except StartupRefused as refused:
            yield Problem(str(refused), source=str(loaded.file or BUILT_IN))
        except ConfigError as error:
            yield from error.problems


def _look_at_plugins(settings: Settings) -> None:
    check_open_door(settings, Hooks(build_plugins(settings)))


async def check_upstream(settings: Settings) -> int:
    """Ask Ollama and say what it answers; the exit code."""
    upstream = settings.upstream
    options = UpstreamOptions(
        url=upstream.url,
        headers={name: value.get_secret_value() for name, value in upstream.headers.items()},
        connect_seconds=upstream.connect_seconds,
        first_byte_seconds=min(ASK_SECONDS, upstream.first_byte_seconds),
    )
    try:
        async with Ollama(options) as ollama:
            version = await ollama.version()
            models = await ollama.tags()
    except GatewayError as error:
        complain(f"upstream {upstream.url}: {error.message}")
        return 1
    say(f"upstream {upstream.url}: Ollama {version}, {len(models)} models")
    for model in models:
        say(f"  {model.name}")
    return 0
