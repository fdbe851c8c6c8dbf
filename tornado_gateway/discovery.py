"""The plugins that are installed, found by their entry points, and built with the settings that the configuration gives them.

One door for all: the bundled plugins come in by the same entry points as a stranger's.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from pydantic import BaseModel, ValidationError

from tornado_gateway.config import ConfigError, PluginEntry, Problem, Settings
from tornado_gateway.config.problems import Path, faults, key_path
from tornado_gateway.config.values import FilledIn, retyped

GROUP = "tornado_gateway"
"""The entry-point group; the same as `hookspecs.GROUP`."""

_MAY_BE_RETYPED = frozenset({"int_type", "float_type", "bool_type"})

Fault = tuple[Path, str]
"""A path below `plugins` and what is wrong there."""


class PluginBroken(Exception):
    """An installed plugin cannot be used; the message is the reason, in one line."""


@dataclass(frozen=True, slots=True)
class Found:
    """An installed plugin, not imported yet."""

    entry: metadata.EntryPoint

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def distribution(self) -> str:
        """The package that it came with. Read when it is asked for, as the version is: a server that starts needs neither."""
        return self.entry.dist.name if self.entry.dist else "?"

    @property
    def version(self) -> str:
        return self.entry.dist.version if self.entry.dist else "?"

    def load(self) -> type[Any]:
        """The plugin's class. Raises `PluginBroken` when it cannot be imported or has no settings model."""
        try:
            cls = self.entry.load()
        except Exception as error:
            raise PluginBroken(f"cannot be imported: {_reason(error)}") from error
        if not isinstance(cls, type):
            raise PluginBroken(f"its entry point {self.entry.value} is not a class")
        model = getattr(cls, "Settings", None)
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise PluginBroken(f"{cls.__name__} has no nested pydantic model `Settings`")
        return cls

    @property
    def doc(self) -> str:
        """The first line of the class's docstring, else of its module's."""
        cls = self.load()
        text = cls.__doc__ or getattr(inspect.getmodule(cls), "__doc__", None) or ""
        return text.strip().partition("\n")[0]


def available() -> list[Found]:
    """Every plugin that is installed, by name."""
    return sorted((Found(entry) for entry in metadata.entry_points(group=GROUP)), key=lambda plugin: plugin.name)


def build_plugins(settings: Settings) -> list[tuple[str, object]]:
    """A new instance of each plugin that is on, with its name, in the configured order. Raises `ConfigError`."""
    checked, problems = check_plugins(enumerate(settings.plugins))
    if problems:
        raise ConfigError(Problem(message, key_path(path)) for path, message in problems)
    built: list[tuple[str, object]] = []
    for place, (name, cls, own) in enumerate(checked):
        try:
            built.append((name, cls(own)))
        except Exception as error:
            raise ConfigError([Problem(f"cannot be built: {_reason(error)}", key_path(("plugins", place, name)))]) from error
    return built


def plugin_settings(settings: Settings) -> dict[str, BaseModel]:
    """Each plugin's own settings, checked, by name. Raises `ConfigError`."""
    checked, problems = check_plugins(enumerate(settings.plugins))
    if problems:
        raise ConfigError(Problem(message, key_path(path)) for path, message in problems)
    return {name: own for name, _, own in checked}


def check_plugins(
    entries: Iterable[tuple[int, PluginEntry]], *, files: bool = False
) -> tuple[list[tuple[str, type[Any], BaseModel]], list[Fault]]:
    """Of entries with their places in the list: the usable ones as name, class and settings, and what is wrong with the others.

    `files`: what the settings name is looked at too, by plugins that know how. Pydantic hands the word on to their validators, as
    `info.context`.
    """
    installed: dict[str, list[Found]] = {}
    for plugin in available():
        installed.setdefault(plugin.name, []).append(plugin)
    checked: list[tuple[str, type[Any], BaseModel]] = []
    problems: list[Fault] = []
    first: dict[str, int] = {}
    for place, entry in entries:
        path: Path = ("plugins", place, entry.name)
        if entry.name in first:
            problems.append((path, f"is on twice: plugins[{first[entry.name]}] is the same"))
            continue
        first[entry.name] = place
        try:
            cls = _choose(entry.name, installed).load()
        except PluginBroken as broken:
            problems.append((path, str(broken)))
            continue
        own, wrong = _check_settings(cls.Settings, entry, {"files": files})
        problems.extend(((*path, *below), message) for below, message in wrong)
        if own is not None:
            checked.append((entry.name, cls, own))
    return checked, problems


def _choose(name: str, installed: dict[str, list[Found]]) -> Found:
    plugins = installed.get(name, [])
    if len(plugins) == 1:
        return plugins[0]
    if plugins:
        raise PluginBroken(
            f"more than one package offers it, uninstall all but one: {', '.join(sorted(found.distribution for found in plugins))}"
        )
    usual = f"tornado-gateway-{name.replace('_', '-')}"
    raise PluginBroken(f"is not installed; on PyPI it is usually called {usual}. Installed: {', '.join(installed) or 'none'}")


def _check_settings(
    model: type[BaseModel], entry: PluginEntry, context: Mapping[str, bool]
) -> tuple[BaseModel | None, list[Fault]]:
    # An unknown key is an error whatever the plugin's author thought of; but one who thought of it decides.
    strange = None if "extra" in model.model_config else "forbid"
    try:
        return _validated(model, dict(entry.settings), strange, context), []
    except ValidationError as error:
        return None, faults(error, model, secretive=True)
    except Exception as error:  # noqa: BLE001  # a validator of a stranger's may raise anything, and must not end in a traceback
        return None, [((), f"its settings cannot be checked: {_reason(error)}")]


def _validated(model: type[BaseModel], settings: dict[str, Any], extra: Any, context: Mapping[str, bool]) -> BaseModel:
    """The settings as their model takes them. Where it insists on a number or a truth, a text from the environment may become one."""
    try:
        return model.model_validate(settings, extra=extra, context=context)
    except ValidationError as error:
        texts = [found for found in error.errors() if found["type"] in _MAY_BE_RETYPED and isinstance(found["input"], FilledIn)]
        if not texts:
            raise
    for found in texts:
        settings = _replaced(settings, found["loc"], retyped(found["input"]))
    return model.model_validate(settings, extra=extra, context=context)


def _replaced(value: Any, path: Path, new: Any) -> Any:
    """The value with another one at a path, copied as far as it changes."""
    if not path:
        return new
    copied: Any = dict(value) if isinstance(value, Mapping) else list(value)
    copied[path[0]] = _replaced(copied[path[0]], path[1:], new)
    return copied


def implemented_hooks(cls: type[Any], hooks: Sequence[str]) -> Iterator[str]:
    """Those of `hooks` that a plugin's class implements."""
    for hook in hooks:
        if hasattr(getattr(cls, hook, None), f"{GROUP}_impl"):
            yield hook


def _reason(error: Exception) -> str:
    told = " ".join(str(error).split())
    return f"{type(error).__name__}: {told}" if told else type(error).__name__
