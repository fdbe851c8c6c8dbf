"""The file of keys: read as a whole or not at all, and never when others can read it.

Either YAML (a list of the same entries as `keys` in the configuration, alone or under `keys:`), or lines `NAME: KEY` and
`NAME: sha256:HEX`. Messages name lines and fields, never what stands in them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import TypeAdapter, ValidationError

from tornado_gateway_auth_keys import KeyEntry, Ring

_OTHERS = stat.S_IROTH | stat.S_IWOTH
_ENTRIES: TypeAdapter[tuple[KeyEntry, ...]] = TypeAdapter(tuple[KeyEntry, ...])


class KeyFileBroken(Exception):
    """The file cannot be used as it is; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What one reading of the file gave."""

    path: Path
    entries: tuple[KeyEntry, ...]
    ends_with_newline: bool

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file. Raises `KeyFileBroken`. Blocks: call it in a thread."""
        text = _text(path)
        try:
            entries = _ENTRIES.validate_python(_parse(text))
            Ring(entries)
        except ValidationError as error:
            raise KeyFileBroken(f"{path}: {_first(error)}") from None
        except ValueError as error:
            raise KeyFileBroken(f"{path}: {error}") from None
        missing = [str(number) for number, entry in enumerate(entries, 1) if not entry.given]
        if missing or not entries:
            raise KeyFileBroken(f"{path}: entry {missing[0]} has no key" if missing else f"{path} holds no key")
        return cls(path, entries, text.endswith("\n"))

    def plain(self) -> dict[str, Any]:
        """As it goes to another process of ours: with digests of the keys only."""
        entries = [entry.model_copy(update={"key": None, "sha256": entry.digest().hex()}) for entry in self.entries]
        plain = [entry.model_dump(mode="json", exclude_defaults=True) for entry in entries]
        return {"path": str(self.path), "entries": plain, "ends_with_newline": self.ends_with_newline}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        return cls(Path(plain["path"]), _ENTRIES.validate_python(plain["entries"]), plain["ends_with_newline"])

    def check_successor_of(self, previous: Self) -> None:
        """Raise `KeyFileBroken` when this looks like a half-written new version: a key that was cut is a valid key too."""
        if previous.ends_with_newline and not self.ends_with_newline:
            raise KeyFileBroken(f"{self.path} ends in the middle of a line: is it still being written?")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & _OTHERS:
                raise KeyFileBroken(f"others can read or change {path}: chmod 640 {path}")
            return file.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise KeyFileBroken(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise KeyFileBroken(f"cannot read {path}: {error.strerror}") from None


def _parse(text: str) -> Any:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and lines[0].startswith(("-", "[", "{", "keys:")):
        return _from_yaml(text)
    return _from_lines(text)


def _from_yaml(text: str) -> Any:
    try:
        data = yaml.load(text, _UniqueKeys)  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ValueError(f"line {line} is not valid YAML") from None
    except yaml.YAMLError:
        raise ValueError("not valid YAML") from None
    if isinstance(data, dict):
        if set(data) != {"keys"}:
            raise ValueError("`keys` must stand alone")
        return data["keys"]
    return data


def _from_lines(text: str) -> list[dict[str, str]]:
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, key = (part.strip() for part in line.partition(":"))
        if not (name and colon and key):
            raise ValueError(f"line {number} is not `NAME: KEY`")
        field, value = ("sha256", key.removeprefix("sha256:")) if key.startswith("sha256:") else ("key", key)
        entries.append({"name": name, field: value})
    return entries


def _first(error: ValidationError) -> str:
    """The first fault: where it is, in one line. What stands there may be a key, so it is not shown."""
    fault = error.errors(include_input=False, include_context=False, include_url=False)[0]
    where = ".".join(str(part + 1) if isinstance(part, int) else part for part in fault["loc"])
    return f"entry {where}: {fault['msg']}" if where else fault["msg"]


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, where plain YAML would take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        if len(names) != len(set(names)):
            raise yaml.constructor.ConstructorError(None, None, "a name stands twice", node.start_mark)
        return super().construct_mapping(node, deep)
