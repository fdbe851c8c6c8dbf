"""`config`: what counts, from whatever it came, with secrets masked; or the schema of it."""

from __future__ import annotations

import json
from pathlib import Path

import click
import yaml

from tornado_gateway.cli.effective import effective
from tornado_gateway.cli.schema import schema
from tornado_gateway.cli.screen import say
from tornado_gateway.cli.serve import config_option
from tornado_gateway.discovery import available
from tornado_gateway.loading import load


@click.command("config")
@config_option
@click.option("--schema", "as_schema", is_flag=True, help="The JSON schema of config.yaml, installed plugins included.")
def command(file: Path | None, as_schema: bool) -> None:
    """Show the effective configuration as YAML, secrets masked."""
    if as_schema:
        say(json.dumps(schema(available()), indent=2, ensure_ascii=False))
        return
    loaded = load(file)
    say(f"# from {loaded.file or 'the built-in defaults'}")
    say(yaml.safe_dump(effective(loaded), sort_keys=False, allow_unicode=True, width=120).rstrip())
