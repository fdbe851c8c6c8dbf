"""From a file, the environment and the command line to settings that are checked whole, the plugins' own included.

Looked up in this order: the path that is given, `$TORNADO_GATEWAY_CONFIG`, `./config.yaml`, the built-in defaults.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from tornado_gateway.config import ConfigError, PluginEntry, Problem, Settings
from tornado_gateway.config.environment import fill_in
from tornado_gateway.config.problems import Path as KeyPath
from tornado_gateway.config.problems import faults, key_path
from tornado_gateway.config.source import Document, read_document
from tornado_gateway.discovery import check_plugins

VARIABLE = "TORNADO_GATEWAY_CONFIG"
DEFAULT_FILE = "config.yaml"
BUILT_IN = "built-in defaults"

FROM_ENVIRONMENT: Mapping[tuple[str, str], str] = {
    ("server", "port"): "${PORT:-3000}",
    ("upstream", "url"): "${OLLAMA_API:-http://localhost:11434}",
}
"""What a file does not say follows the environment variables of the program before, as in the shipped file."""

DEFAULT_KEY = "${OPENAI_API}"
"""The key where `auth` is on and nothing is said about keys, as in the default list of plugins."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where they came from; `file` is None for the built-in defaults."""

    settings: Settings
    plugins: dict[str, BaseModel]
    """Each plugin's own settings, checked, in the configured order."""
    file: Path | None
    text: str

    def exposed(self) -> str | None:
        """A warning when keys stand plainly in a file that others can read, with the command that helps."""
        if self.file is None or not any(secret in self.text for secret in self._secrets()):
            return None
        try:
            mode = self.file.stat().st_mode
        except OSError:  # gone since it was read, so nobody reads it now
            return None
        if not mode & (stat.S_IROTH | stat.S_IRGRP):
            return None
        return f"{self.file} holds plain keys and other people on this machine can read it: chmod 600 {self.file}"

    def _secrets(self) -> Iterator[str]:
        for model in (self.settings, *self.plugins.values()):
            yield from _secrets_in(model)


def load_settings(
    path: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings, checked with those of the plugins. Raises `ConfigError` with all problems at once.

    `overrides` beat the file: values by dotted key, `{"server.port": 8080}`.
    """
    return load(path, environ=environ, overrides=overrides).settings


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    files: bool = False,
) -> Loaded:
    """As `load_settings`, with what else is known.

    `files`: what plugins read at their start is looked at now. Not for a server: it goes on with a file of keys that it has read.
    """
    environ = os.environ if environ is None else environ
    file = find_file(path, environ)
    text = "" if file is None else _read(file)
    document = read_document(text, BUILT_IN if file is None else str(file), environ)
    values = _with_defaults(document.values, environ)
    given = {tuple(key.split(".")): value for key, value in (overrides or {}).items()}
    for key, value in given.items():
        _put(values, key, value)
    problems = list(document.problems)
    settings, wrong = _check_core(values)
    checked, wrong_plugins = check_plugins(_entries(values), files=files)
    problems += [_located(document, given, fault) for fault in wrong + wrong_plugins]
    if problems or settings is None:
        raise ConfigError(sorted(problems, key=lambda problem: (problem.line is None, problem.line or 0)))
    return Loaded(settings, {name: own for name, _, own in checked}, file, text)


def find_file(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path | None:
    """The file that counts, None for the built-in defaults. One that was named need not exist: reading it tells."""
    named = path or environ.get(VARIABLE)
    if named:
        return Path(named)
    usual = Path(DEFAULT_FILE)
    return usual if usual.exists() else None


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([Problem("is not UTF-8", source=str(file))]) from error
    except OSError as error:
        raise ConfigError([Problem(f"cannot be read: {error.strerror or error}", source=str(file))]) from error


def _with_defaults(values: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """What follows the environment, where the file is silent. A section that is there but empty is silent too."""
    merged = {name: value for name, value in values.items() if value is not None or name == "plugins"}
    for key, text in FROM_ENVIRONMENT.items():
        section = merged.setdefault(key[0], {})
        if isinstance(section, dict) and key[1] not in section:
            merged[key[0]] = {**section, key[1]: fill_in(text, environ)}
    listed = merged.setdefault("plugins", list(Settings().plugins))
    secret = fill_in(DEFAULT_KEY, environ)
    if secret is not None and isinstance(listed, list):
        merged["plugins"] = [_keyed(item, secret) for item in listed]
    return merged


def _keyed(item: Any, key: str) -> Any:
    """An item for `auth` that says nothing about keys, or the one of the default list, with this key; any other as it is."""
    match item:
        case PluginEntry("auth") | "auth":
            settings: dict[str, Any] = {}
        case {"auth": dict() | None as given, **others} if not others:
            settings = given or {}
        case _:
            return item
    if settings.get("keys", []) != [] or settings.get("key_file") is not None:
        return item
    return {"auth": {**settings, "keys": [{"name": "default", "key": key}]}}


def _put(values: dict[str, Any], key: tuple[str, ...], value: Any) -> None:
    for step in key[:-1]:
        inner = values.get(step)
        values[step] = dict(inner) if isinstance(inner, dict) else {}
        values = values[step]
    values[key[-1]] = value


def _check_core(values: Mapping[str, Any]) -> tuple[Settings | None, list[tuple[KeyPath, str]]]:
    try:
        return Settings.model_validate(values), []
    except ValidationError as error:
        return None, faults(error, Settings, secretive=False)


def _entries(values: Mapping[str, Any]) -> Iterator[tuple[int, PluginEntry]]:
    """The plugins that can be read, with their places: what is wrong with their settings is told whatever else is wrong."""
    listed = values.get("plugins")
    for place, item in enumerate(listed if isinstance(listed, list) else []):
        with contextlib.suppress(ValidationError):
            yield place, Settings.model_validate({"plugins": [item]}).plugins[0]


def _located(document: Document, given: Mapping[tuple[str, ...], Any], fault: tuple[KeyPath, str]) -> Problem:
    path, message = fault
    if path in given:
        return Problem(message, key_path(path), "command line")
    variable = _variable(document, path)
    if variable is not None:
        return Problem(message, key_path(path), f"${variable[2:-1].partition(':')[0]}")
    return document.problem(path, message)


def _variable(document: Document, path: KeyPath) -> str | None:
    """The reference that a value came from, where the file is silent about it."""
    if path[2:4] == ("auth", "keys"):
        return None if path[:4] in document.lines else DEFAULT_KEY
    return FROM_ENVIRONMENT.get(path) if len(path) == 2 and path not in document.lines else None  # type: ignore[arg-type]


def _secrets_in(value: Any) -> Iterator[str]:
    match value:
        case SecretStr():
            if value.get_secret_value():
                yield value.get_secret_value()
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets_in(getattr(value, name))
        case dict():
            for inner in value.values():
                yield from _secrets_in(inner)
        case list() | tuple() | set() | frozenset():
            for inner in value:
                yield from _secrets_in(inner)
