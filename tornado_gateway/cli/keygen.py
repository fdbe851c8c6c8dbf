"""`keygen`: a new key, and the line that lets it in without giving it away."""

from __future__ import annotations

import hashlib
import json
import re

import click

from tornado_gateway.cli.keys import new_key
from tornado_gateway.cli.screen import say

_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_YAML_WORDS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))


@click.command("keygen")
@click.option("--name", default="default", show_default=True, help="The tenant: limits, the cache and the log are kept by it.")
def command(name: str) -> None:
    """Make a key, and the hashed line to paste into config.yaml. The key is shown once and kept nowhere."""
    if not name.strip() or not name.isprintable():
        raise click.UsageError("--name must be printable text")
    key = new_key()
    say("The key, for its holder; it is not shown again:\n")
    say(f"  {key}\n", bold=True)
    say("For config.yaml, below the `keys:` of `auth`:\n")
    say(f"  - name: {quoted(name.strip())}\n    sha256: {hashlib.sha256(key.encode()).hexdigest()}")


def quoted(name: str) -> str:
    """A name as YAML takes it for a text, and no reference to the environment either."""
    if _PLAIN_NAME.fullmatch(name) and name.lower() not in _YAML_WORDS:
        return name
    return json.dumps(name.replace("${", "$${"), ensure_ascii=False)
