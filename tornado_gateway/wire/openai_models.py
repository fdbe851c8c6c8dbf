"""The list of models, and one of them, as OpenAI sends them. Values in, bytes out; what a caller may see is decided elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import msgspec

DEFAULT_OWNER = "library"
"""Whose models Ollama's own library holds: their names have no namespace."""

_TIME = re.compile(
    r"(?P<to_second>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(?:Z|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d))",
    re.ASCII | re.IGNORECASE,
)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A name that a caller may use, and the model that answers to it."""

    id: str
    """What the caller writes as `model`: a name of Ollama's or an alias."""
    name: str
    """The model as `/api/tags` spells it; for an alias another than `id`."""
    modified_at: str = ""
    """From `/api/tags`: RFC 3339 with up to nine digits of a second."""


class _Model(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: str = "model"
    created: int
    owned_by: str


class _List(msgspec.Struct, frozen=True, kw_only=True):
    object: str = "list"
    data: list[_Model]


def encode_models(entries: Iterable[ModelEntry]) -> bytes:
    """The body of `GET /v1/models`; `data` is a list even when there is no model."""
    return _encoder.encode(_List(data=[_model(entry) for entry in entries]))


def encode_model(entry: ModelEntry) -> bytes:
    """The body of `GET /v1/models/{id}`."""
    return _encoder.encode(_model(entry))


def unix_seconds(time: str) -> int:
    """A time of Ollama's in whole seconds since 1970, rounded down; 0 where it is none or before that."""
    match = _TIME.fullmatch(time)
    if match is None:
        return 0
    offset = timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
    try:
        moment = datetime.fromisoformat(match["to_second"].upper())
        zone = timezone(-offset if match["sign"] == "-" else offset)
    except ValueError:
        return 0
    return max(0, int(moment.replace(tzinfo=zone).timestamp()))


def owner(name: str) -> str:
    """The namespace in a model's name: `ada` in `ada/m:7b` and in `hf.co/ada/m`."""
    parts = [part for part in name.split("/") if part]
    return parts[-2] if len(parts) > 1 else DEFAULT_OWNER


def _model(entry: ModelEntry) -> _Model:
    return _Model(id=entry.id, created=unix_seconds(entry.modified_at), owned_by=owner(entry.name))
