"""What is wrong with a configuration: every fault with its place, told in one line.

Values are shown where they help and cannot be secret: numbers, and texts of the core's own settings that stand where a text or a number may.
A plugin's texts are never shown.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tornado_gateway.config.values import Unshown

Path = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SHOWN_CHARACTERS = 60

_WORDS = {
    "missing": "must be given",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}

_WORDS_ALONE = {
    "string_type": "must be a text (put it in quotes)",
    "path_type": "must be the path of a file or folder (put it in quotes)",
    "model_type": "must be a mapping (lines of `key: value`)",
    "model_attributes_type": "must be a mapping (lines of `key: value`)",
    "dataclass_type": "must be a mapping (lines of `key: value`)",
    "dict_type": "must be a mapping (lines of `key: value`)",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
}
"""Said without the value: what stands in the place of a text or of a section may be the key that was to stand there."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault. `source` is the file, or where else the value came from; `line` counts from 1; `key` is the path of keys."""

    message: str
    key: str = ""
    source: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line is not None else self.source
        return ": ".join(part for part in (place, self.key, self.message) if part)


class ConfigError(Exception):
    """The configuration cannot be used; carries all its problems. As a text it is one problem a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def key_path(path: Path) -> str:
    """A path of keys as people read it.

    >>> key_path(("plugins", 1, "auth", "keys", 0))
    'plugins[1].auth.keys[0]'
    >>> key_path(("models", "aliases", "gpt-3.5-turbo"))
    'models.aliases["gpt-3.5-turbo"]'
    """
    shown = ""
    for step in path:
        if isinstance(step, str) and _PLAIN_KEY.fullmatch(step):
            shown += f".{step}" if shown else step
        else:
            shown += f"[{json.dumps(step, ensure_ascii=False)}]"
    return shown


def faults(error: ValidationError, model: type[BaseModel], *, secretive: bool) -> list[tuple[Path, str]]:
    """The path and the message of everything that pydantic found. `secretive`: texts are not shown, since one may be a key."""
    return [(_path(found), _message(found, model, secretive)) for found in error.errors(include_url=False)]


def _path(found: ErrorDetails) -> Path:
    path = tuple(found["loc"])
    return path[:-1] if path[-1:] == ("[key]",) else path  # pydantic's way to say that the key itself is at fault


def _message(found: ErrorDetails, model: type[BaseModel], secretive: bool) -> str:
    kind = found["type"]
    words = _WORDS.get(kind) or _WORDS_ALONE.get(kind)
    if kind == "extra_forbidden":
        return _unknown_key(str(found["loc"][-1]), _fields_at(model, found["loc"][:-1]))
    if kind in ("value_error", "assertion_error"):
        message = found["msg"].partition(", ")[2]
    elif words:
        message = words
    else:
        message = re.sub(r"^(Input|Value|String|List|Tuple|Dictionary) should ", "must ", found["msg"])
    if kind in ("list_type", "tuple_type") and found["input"] is None:
        return "must be a list; write [] for none"
    if secretive and not words and isinstance(found["input"], str) and found["input"]:
        message = message.replace(found["input"], "…")  # a plugin's own sentence may repeat what it was given
    if kind == "missing" or (kind == "value_error" and secretive):
        return message
    unshown = isinstance(found.get("ctx", {}).get("error"), Unshown)
    return message + _got(found["input"], hide=secretive or unshown or kind in _WORDS_ALONE)


def _got(value: Any, *, hide: bool) -> str:
    match value:
        case None:
            return " (got nothing)"
        case bool():
            return f" (got {str(value).lower()})"
        case int() | float() if not hide:
            return f" (got {value})"
        case str() if not hide and "@" not in value:  # an address with credentials is not to be repeated
            shown = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…"
            return f" (got {json.dumps(str(shown), ensure_ascii=False)})"
        case _:
            return ""


def _unknown_key(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    if close:
        return f"unknown key; did you mean `{close[0]}`?"
    return f"unknown key; known here: {', '.join(known)}" if known else "unknown key"


def _fields_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that are known where an unknown one was found; empty when the place is not a model's own."""
    annotation: Any = model
    for step in path:
        annotation = next((inner for option in _options(annotation) for inner in _inside(option, step)), None)
    return next((list(option.model_fields) for option in _options(annotation) if _is_model(option)), [])


def _options(annotation: Any) -> list[Any]:
    """What a value may be: the parts of a union, else the one thing."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return list(get_args(annotation)) if get_origin(annotation) in (Union, UnionType) else [annotation]


def _inside(option: Any, step: str | int) -> Iterator[Any]:
    if _is_model(option):
        if step in option.model_fields:
            yield option.model_fields[step].annotation
    elif inner := [part for part in get_args(option) if part is not Ellipsis]:
        yield inner[-1]  # of a mapping the values, of a list the items


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)
