"""The text of a configuration to plain values, with the line of each key for whoever has to tell what is wrong with it.

YAML's safe subset: no objects, no key twice, and anchors only as far as they do not multiply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tornado_gateway.config.environment import fill_in
from tornado_gateway.config.problems import ConfigError, Path, Problem, key_path

MAX_CHARACTERS = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 40

_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp"))
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C starts five times as fast

_NOT_GIVEN = object()


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says: its values, and where each key stands."""

    source: str
    values: dict[str, Any] = field(default_factory=dict)
    lines: Mapping[Path, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    """What is wrong with single keys; they are left out of `values`, so that the rest can be checked too."""

    def problem(self, path: Path, message: str) -> Problem:
        """A problem at a key, or at the nearest one above it that stands in the file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return Problem(message, key_path(path), self.source, self.lines[path[:length]])
        return Problem(message, key_path(path), self.source)


def read_document(text: str, source: str, environ: Mapping[str, str]) -> Document:
    """Parse a configuration and fill in the environment. Raises `ConfigError` where nothing can be read at all."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigError([Problem(f"is over {MAX_CHARACTERS} characters long", source=source)])
    builder = _Builder(source, environ)
    try:
        node = yaml.compose(text, Loader=_LOADER)
        values = {} if node is None else builder.build(node, ())
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax_problem(error, source, text)]) from error
    except yaml.YAMLError as error:
        raise ConfigError([Problem(f"is not YAML: {' '.join(str(error).split())}", source=source)]) from error
    except RecursionError as error:
        raise ConfigError([Problem("is nested too deeply", source=source)]) from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError([Problem("must be a mapping (lines of `key: value`)", source=source, line=1)])
    return Document(source, values, builder.lines, tuple(builder.problems))


def _syntax_problem(error: yaml.MarkedYAMLError, source: str, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    told = ", ".join(part for part in (error.context, error.problem) if part)
    # What is missing at the end is missed by YAML on the line after it.
    line = None if mark is None else min(mark.line, text.count("\n", 0, len(text.rstrip()))) + 1
    return Problem(f"is not YAML: {told}", source=source, line=line)


class _Builder:
    """Walks the nodes once; keeps lines and problems by the path where they will be looked for."""

    def __init__(self, source: str, environ: Mapping[str, str]) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self._source = source
        self._environ = environ
        self._nodes = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise ConfigError([Problem("holds too much, or an anchor within itself", source=self._source, line=_line(node))])
        if not node.tag.startswith(_PLAIN_TAGS):
            self._complain(node, path, f"cannot be read: the tag {node.tag} is not allowed here")
            return _NOT_GIVEN
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return self._sequence(node, path)
            case _:
                return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        seen: dict[str, int] = {}
        merged: list[dict[str, Any]] = []
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged.extend(self._merged(value_node, path))
                continue
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _TEXT:
                self._complain(key_node, path, f"the key `{_shown(key_node)}` must be a text: put it in quotes")
                continue
            key = key_node.value
            if key in seen:
                self._complain(key_node, (*path, key), f"stands here twice, first in line {seen[key]}")
                continue
            seen[key] = self.lines[(*path, key)] = _line(key_node)
            value = self.build(value_node, (*path, key))
            if value is not _NOT_GIVEN:
                values[key] = value
        for other in merged:
            values.update({key: value for key, value in other.items() if key not in seen and key not in values})
        return values

    def _merged(self, node: yaml.Node, path: Path) -> Iterator[dict[str, Any]]:
        for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            value = self.build(part, (*path, "<<"))
            if isinstance(value, dict):
                yield value
            else:
                self._complain(part, path, "`<<` takes a mapping")

    def _sequence(self, node: yaml.SequenceNode, path: Path) -> list[Any]:
        values: list[Any] = []
        for item in node.value:
            # Counted by what is kept: an item that is not given leaves no hole in the numbers.
            place = (*path, len(values))
            self.lines[place] = _line(item)
            value = self.build(item, place)
            if value is not _NOT_GIVEN:
                values.append(value)
        return values

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            told = error.problem if isinstance(error, yaml.MarkedYAMLError) else str(error)
            self._complain(node, path, f"cannot be read: {told}")
            return _NOT_GIVEN
        if not isinstance(value, str):
            return value
        try:
            filled = fill_in(value, self._environ)
        except ValueError as error:
            self._complain(node, path, str(error))
            return _NOT_GIVEN
        return _NOT_GIVEN if filled is None else filled

    def _complain(self, node: yaml.Node, path: Path, message: str) -> None:
        self.problems.append(Problem(message, key_path(path), self._source, _line(node)))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _shown(key: yaml.Node) -> str:
    return str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
