"""`serve`: the gateway as its configuration says, until it is told to stop."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import click

from tornado_gateway import __version__
from tornado_gateway.cli.screen import announce, say, warn
from tornado_gateway.config import Settings
from tornado_gateway.loading import Loaded, load, load_settings
from tornado_gateway.server import Ready, serve

config_option = click.option(
    "-c",
    "--config",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The configuration; else $TORNADO_GATEWAY_CONFIG, ./config.yaml, the built-in defaults.",
)


@click.command("serve")
@config_option
@click.option("--host", metavar="HOST", help="Address to listen at.")
@click.option("--port", metavar="PORT", type=click.IntRange(0, 65535), help="Port to listen at; 0 takes a free one.")
@click.option("--upstream", metavar="URL", help="Ollama's address.")
@click.option("--workers", metavar="N", type=click.IntRange(1), default=1, help="Processes that serve; only 1 for now.")
def command(file: Path | None, host: str | None, port: int | None, upstream: str | None, workers: int) -> int:
    """Serve. Flags beat the file, the file beats the defaults; SIGHUP re-reads the file."""
    if workers > 1:
        raise click.UsageError("--workers over 1 is not there yet: one process serves")
    flags = {"server.host": host, "server.port": port, "upstream.url": upstream}
    overrides: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    loaded = load(file, overrides=overrides)
    warning = loaded.exposed()
    if warning:
        warn(warning)
    return run_server(
        loaded.settings,
        reload=lambda: load_settings(file, overrides=overrides),
        on_ready=lambda ready: summary(ready, loaded),
    )


def run_server(settings: Settings, **more: Any) -> int:
    """Serve, and say in one line why it cannot be done."""
    try:
        return serve(settings, announce=announce, **more)
    except OSError as error:
        where = f"{settings.server.host}, port {settings.server.port}"
        if error.errno == errno.EADDRINUSE:
            raise click.ClickException(f"cannot listen at {where}: another program does; choose another with --port") from error
        raise click.ClickException(f"cannot listen at {where}: {error.strerror or error}") from error


def summary(ready: Ready, loaded: Loaded) -> None:
    """What a person wants to know when the server is up."""
    for address in ready.addresses:
        say(f"tornado-gateway {__version__} listens at {address}", bold=True)
    say(f"configuration: {loaded.file or 'built-in defaults'}")
    for upstream in ready.upstreams:
        if upstream.reachable:
            say(f"upstream {upstream.url}: {_models(upstream.models)}", fg="green")
        else:
            say(f"upstream {upstream.url}: not reachable ({upstream.reason}); requests are refused until it is", fg="yellow")
    say(f"plugins: {', '.join(ready.plugins) or 'none'}")
    for name, own in loaded.plugins.items():
        directory = getattr(own, "directory", None)
        if directory is not None:
            say(f"{name}: {directory}/")


def _models(names: tuple[str, ...]) -> str:
    if not names:
        return "no models yet; `ollama pull llama3.2` adds one"
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"{len(names)} model{'' if len(names) == 1 else 's'} ({shown})"
