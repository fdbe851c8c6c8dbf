"""`serve`: the gateway as its configuration says, until it is told to stop."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from tornado_gateway import __version__
from tornado_gateway.cli.screen import announce, say, warn
from tornado_gateway.config import Settings
from tornado_gateway.discovery import plugin_settings
from tornado_gateway.loading import BUILT_IN, load, load_settings
from tornado_gateway.server import CannotListen, Ready, serve
from tornado_gateway.signals import be_quiet_until_served
from tornado_gateway.worker import Worker
from tornado_gateway.workers import serve_many

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
@click.option(
    "--workers", metavar="N", type=click.IntRange(1), default=1, help="Processes that serve, below one that watches them."
)
def command(file: Path | None, host: str | None, port: int | None, upstream: str | None, workers: int) -> int:
    """Serve. Flags beat the file, the file beats the defaults; SIGHUP re-reads the file."""
    be_quiet_until_served()
    worker = Worker.from_environment()
    flags = {"server.host": host, "server.port": port, "upstream.url": upstream}
    overrides: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    if worker is not None:
        return _serve_as(worker, file)
    loaded = load(file, overrides=overrides)
    if warning := loaded.exposed():
        warn(warning)
    # The file that was found, not another look for one: were it gone, the defaults with their other keys would count.
    found = loaded.file or file
    reload = partial(load_settings, found, overrides=overrides)
    if workers > 1:
        command = worker_command(found, host, port, upstream)
        return run_server(loaded.settings, partial(serve_many, workers=workers, command=command, reload=reload))
    on_ready = partial(summary, file=loaded.file, plugins=loaded.plugins)
    return run_server(loaded.settings, partial(serve, reload=reload, on_ready=on_ready))


def _serve_as(worker: Worker, file: Path | None) -> int:
    """As one of several: with the settings that it is handed, now and on a reload."""
    settings = worker.handed.settings
    on_ready = partial(summary, file=file, plugins=plugin_settings(settings)) if worker.speaks else None
    return run_server(settings, partial(serve, on_ready=on_ready, worker=worker))


def worker_command(file: Path | None, host: str | None, port: int | None, upstream: str | None) -> list[str]:
    """How a worker is started: with the flags of its parent, by the same Python."""
    flags = {"--config": file, "--host": host, "--port": port, "--upstream": upstream}
    given = [f"{flag}={value}" for flag, value in flags.items() if value is not None]
    return [sys.executable, "-m", "tornado_gateway", "serve", *given]


def run_server(settings: Settings, serving: Callable[..., int]) -> int:
    """Serve, and say in one line why it cannot be done."""
    try:
        return serving(settings, announce=announce)
    except CannotListen as error:
        where = f"{settings.server.host}, port {settings.server.port}"
        if error.errno == errno.EADDRINUSE:
            raise click.ClickException(f"cannot listen at {where}: another program does; choose another with --port") from error
        raise click.ClickException(f"cannot listen at {where}: {error.strerror or error}") from error


def summary(ready: Ready, file: Path | None, plugins: Mapping[str, BaseModel]) -> None:
    """What a person wants to know when the server is up."""
    for address in ready.addresses:
        say(f"tornado-gateway {__version__} listens at {address}", bold=True)
    say(f"configuration: {file or BUILT_IN}")
    for upstream in ready.upstreams:
        if upstream.reachable:
            say(f"upstream {upstream.url}: {_models(upstream.models)}", fg="green")
        else:
            say(f"upstream {upstream.url}: not reachable ({upstream.reason}); requests are refused until it is", fg="yellow")
    say(f"plugins: {', '.join(ready.plugins) or 'none'}")
    for name, own in plugins.items():
        directory = getattr(own, "directory", None)
        if directory is not None:
            say(f"{name}: {directory}/")


def _models(names: tuple[str, ...]) -> str:
    if not names:
        return "no models yet; `ollama pull llama3.2` adds one"
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"{len(names)} model{'' if len(names) == 1 else 's'} ({shown})"
