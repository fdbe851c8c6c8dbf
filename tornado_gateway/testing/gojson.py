"""JSON as Go writes and reads it, where that differs from Python: escapes, duplicate keys, error texts.

Ollama's answers are compared with recordings byte for byte, and what it makes of an odd body decides what a gateway has to
refuse; so both directions follow Go's `encoding/json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_loose = json.JSONDecoder()
_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS: dict[type, str] = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


class NotJSON(ValueError):
    """The body cannot be read; the text is what Go's decoder says."""


def encode(value: Any) -> bytes:
    """Compact JSON with `<`, `>`, `&`, U+2028 and U+2029 escaped, as Go does so that JSON may stand inside HTML."""
    data = _encode(value)
    data = data.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    return data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")


def decode(raw: bytes) -> Any:
    """The first JSON value of `raw`; what follows it is not read. The last of several equal keys wins.

    Raises `NotJSON` with Go's words. Broken UTF-8 and lone surrogates become U+FFFD.
    """
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_loosely(raw.decode("utf-8", "replace"))


def _decode_loosely(text: str) -> Any:
    start = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        value, _ = _loose.raw_decode(text, start)
    except RecursionError:
        raise NotJSON("exceeded max depth") from None
    except json.JSONDecodeError as error:
        raise NotJSON(_syntax_text(text, error.pos)) from error
    return _without_surrogates(value)


def _syntax_text(text: str, position: int) -> str:
    rest = text[position:].lstrip()
    # An unterminated string is reported at its opening quote: what is missing is still the end.
    if not rest or (rest[0] == '"' and '"' not in rest[1:]):
        return "unexpected EOF"
    return f"invalid character {_quoted(rest[0])} looking for beginning of value"


def _quoted(character: str) -> str:
    """Go names the byte at fault: of a letter beyond ASCII the first one."""
    character = chr(character.encode()[0])
    return r"'\''" if character == "'" else f"'{character}'"


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def folded(value: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """The fields of a struct: keys match without regard to case, the last one wins, null is as good as absent."""
    fields: dict[str, Any] = {}
    for key, item in value.items():
        name = key if key in names else key.casefold()
        if name in names and item is not None:
            fields[name] = item
    return fields


def kind(value: Any) -> str:
    """Go's word for what stands in the JSON."""
    return _KINDS.get(type(value), "null")


def misfit(value: Any, field: str, go_type: str) -> str:
    """What Go's decoder says when a value does not fit its field."""
    number = f" {value}" if isinstance(value, float) and go_type == "int" else ""
    return f"json: cannot unmarshal {kind(value)}{number} into Go struct field {field} of type {go_type}"
