"""What Ollama says about its models: `/api/tags`, `/api/ps` and `/api/show`, read with patience.

Ollama adds and drops keys from version to version, so each is optional and an entry that makes no sense is left out; an
answer that is not such a list at all is refused. Pure: bytes to values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from tornado_gateway.errors import UpstreamInvalidResponse

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of `/api/tags`."""

    name: str
    digest: str = ""
    size: int = 0
    modified_at: str = ""
    """RFC 3339, as Ollama spells it."""
    families: tuple[str, ...] = ()
    parameter_size: str = ""
    quantization_level: str = ""
    remote_model: str = ""
    remote_host: str = ""
    """Not empty for a model that runs elsewhere, on the operator's account."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What `/api/show` says of a model."""

    capabilities: frozenset[str] | None
    """None when this Ollama is too old to say."""
    stop: tuple[str, ...] = ()
    """The Modelfile's own stop sequences."""
    context_length: int | None = None
    """The window that the model was made for, not the one that it is loaded with."""
    families: tuple[str, ...] = ()


class _Details(msgspec.Struct):
    family: str | None = None
    families: list[str] | None = None
    parameter_size: str | None = None
    quantization_level: str | None = None


class _Entry(msgspec.Struct):
    name: str | None = None
    model: str | None = None
    digest: str | None = None
    size: int | None = None
    modified_at: str | None = None
    details: _Details | None = None
    remote_model: str | None = None
    remote_host: str | None = None


class _List(msgspec.Struct):
    models: list[msgspec.Raw] | None = None


class _Version(msgspec.Struct):
    version: str


class _Show(msgspec.Struct):
    parameters: str | None = None
    details: _Details | None = None
    model_info: dict[str, Any] | None = None
    capabilities: list[str] | None = None


_list = msgspec.json.Decoder(_List)
_entry = msgspec.json.Decoder(_Entry)
_show = msgspec.json.Decoder(_Show)
_version = msgspec.json.Decoder(_Version)


def models_of(body: bytes) -> list[Model]:
    """The models of `/api/tags` or `/api/ps`, in Ollama's order. Raises `UpstreamInvalidResponse`."""
    return [model for raw in _decoded(_list, body).models or () if (model := _model(raw)) is not None]


def shown_of(body: bytes) -> Shown:
    """Raises `UpstreamInvalidResponse`."""
    shown = _decoded(_show, body)
    return Shown(
        capabilities=None if shown.capabilities is None else frozenset(shown.capabilities),
        stop=stop_sequences(shown.parameters or ""),
        context_length=_context_length(shown.model_info or {}),
        families=_families(shown.details),
    )


def version_of(body: bytes) -> str:
    """Raises `UpstreamInvalidResponse`."""
    return _decoded(_version, body).version


def stop_sequences(parameters: str) -> tuple[str, ...]:
    """The values of the `stop` lines of a Modelfile's parameters, whose strings are quoted as Go quotes them."""
    found = []
    for line in parameters.split("\n"):
        key, _, value = line.strip().partition(" ")
        if key == "stop":
            value = value.strip()
            found.append(_unquoted(value[1:-1]) if len(value) > 1 and value[0] == value[-1] == '"' else value)
    return tuple(found)


def _decoded(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamInvalidResponse("What came from Ollama is not what Ollama says about its models.") from error


def _model(raw: msgspec.Raw) -> Model | None:
    try:
        entry = _entry.decode(raw)
    except msgspec.MsgspecError:
        return None
    name = entry.name or entry.model
    if not name:
        return None
    details = entry.details or _Details()
    return Model(
        name=name,
        digest=(entry.digest or "").removeprefix("sha256:"),
        size=entry.size or 0,
        modified_at=entry.modified_at or "",
        families=_families(details),
        parameter_size=details.parameter_size or "",
        quantization_level=details.quantization_level or "",
        remote_model=entry.remote_model or "",
        remote_host=entry.remote_host or "",
    )


def _families(details: _Details | None) -> tuple[str, ...]:
    if details is None:
        return ()
    return tuple(details.families or ([details.family] if details.family else ()))


def _context_length(info: Mapping[str, Any]) -> int | None:
    length = info.get(f"{info.get('general.architecture')}.context_length")
    return length if isinstance(length, int) else None


_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _unquoted(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        byte, short, long, simple = match.groups()
        if simple is not None:
            return _SIMPLE.get(simple, simple)
        return chr(min(int(byte or short or long, 16), 0x10FFFF))

    return _ESCAPE.sub(character, text)
