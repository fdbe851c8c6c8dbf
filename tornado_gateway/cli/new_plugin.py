"""`new-plugin`: a package with a plugin that works and tests that pass, to be changed into what its author wants."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
from pathlib import Path

import click

from tornado_gateway.cli.screen import say
from tornado_gateway.cli.skeleton import filled
from tornado_gateway.discovery import available

PREFIX = "tornado-gateway-"
LONGEST = 40
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TAKEN_CLASSES = frozenset({"BaseModel", "ConfigDict", "Context", "InvalidRequest", "Settings"})
"""Names that the written module uses itself."""


@click.command("new-plugin")
@click.argument("name", metavar="NAME")
@click.option(
    "--directory",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where its folder is made; else here.",
)
def command(name: str, directory: Path) -> None:
    """Write the package of a new plugin: setup.py, module, settings, tests that pass, README. Overwrites nothing."""
    names = names_of(name)
    folder = directory / names["distribution"]
    write(folder, filled(names))
    say(f"{folder}/ holds a plugin that works.", bold=True)
    say(f"\n  cd {folder}\n  pip install -e '.[test]'\n  pytest\n")
    say(f"Then one line below `plugins:` in config.yaml switches it on:\n\n  - {names['name']}: {{}}\n")
    say("docs/plugins.md of tornado-gateway goes on from here.")


def names_of(given: str) -> dict[str, str]:
    """All that is called after the plugin. Raises `click.UsageError` with a name that would do, where one can be told."""
    base = given.removeprefix(PREFIX).removeprefix("tornado_gateway_")
    if not _NAME.fullmatch(base) or len(base) > LONGEST:
        better = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-0123456789")[:LONGEST].strip("-")
        hint = f", such as {better}" if better and _NAME.fullmatch(better) else ""
        raise click.UsageError(f"a plugin's name is lower-case letters, digits and single hyphens, {LONGEST} at most{hint}")
    name, cls = base.replace("-", "_"), "".join(part.capitalize() for part in base.split("-"))
    if keyword.iskeyword(cls) or cls in _TAKEN_CLASSES:
        cls += "Plugin"
    module = f"tornado_gateway_{name}"
    taken = next((found.distribution for found in available() if found.name == name), None)
    if taken or importlib.util.find_spec(module):
        raise click.UsageError(f"there is a plugin {name} already{f', in {taken}' if taken else ''}; choose another name")
    title = base.replace("-", " ").capitalize()
    return {"name": name, "distribution": f"{PREFIX}{base}", "module": module, "cls": cls, "title": title}


def write(folder: Path, files: dict[str, str]) -> None:
    """Write all files into a new folder, or none. Raises `click.ClickException`."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise click.ClickException(f"{folder} is there already; nothing was written") from error
    except OSError as error:
        raise click.ClickException(f"{folder} cannot be made: {error.strerror}") from error
    try:
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, "utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise click.ClickException(f"{folder} cannot be written: {error.strerror}") from error
