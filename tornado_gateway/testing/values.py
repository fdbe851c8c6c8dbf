"""Values of a request's fields as Go's decoder and Ollama's own types take them, and their words for those they do not.

Each function takes the value and the field's path and gives what the field holds. All raise `Refusal` (400).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from tornado_gateway.testing import gojson
from tornado_gateway.testing.refusals import Refusal

_LEVELS = ("high", "medium", "low", "max")
_BASE64_FAULT = re.compile(r"[^A-Za-z0-9+/]")
_DURATION = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))*")
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def array(value: Any, path: str, go_type: str) -> list[Any]:
    if not isinstance(value, list):
        raise Refusal(400, gojson.misfit(value, path, go_type))
    return value


def images(value: Any, path: str) -> list[bytes]:
    decoded = []
    for item in array(value, path, "[]api.ImageData"):
        if not isinstance(item, str):
            raise Refusal(400, gojson.misfit(item, path, "api.ImageData"))
        decoded.append(_unbase64(item))
    return decoded


def _unbase64(text: str) -> bytes:
    """Standard alphabet, padded; line breaks are skipped. Raises `Refusal` naming the first bad byte, as Go does."""
    compact = text.replace("\r", "").replace("\n", "")
    try:
        return base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        fault = _BASE64_FAULT.search(text.rstrip("="))
        position = fault.start() if fault else len(text)
        raise Refusal(400, f"illegal base64 data at input byte {position}") from None


def think(value: Any, _: str) -> bool | str:
    if isinstance(value, bool):
        return value
    levels = '", "'.join(_LEVELS)
    if isinstance(value, str):
        if value in _LEVELS:
            return value
        shown = gojson.encode(value).decode()
        raise Refusal(400, f'invalid think value: {shown} (must be "{levels}", true, or false)')
    raise Refusal(400, f'think must be a boolean or string ("{levels}", true, or false)')


def keep_alive(value: Any, _: str) -> float:
    """Seconds, or Go's duration text. Raises `Refusal` with Go's words."""
    if isinstance(value, bool | list | dict):
        go_type = {"bool": "bool", "array": "[]interface {}", "object": "map[string]interface {}"}[gojson.kind(value)]
        raise Refusal(400, f"Unsupported type: {go_type}")
    if isinstance(value, int | float):
        # Beyond what Go's 64 bits of nanoseconds hold, the duration overflows and the model is unloaded at once.
        return float(value) if abs(value) < 2**63 / 1e9 else 0.0
    if value == "0":
        return 0.0
    if not _DURATION.fullmatch(value):
        number = re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)", value)
        what = "missing unit in" if number else "invalid"
        raise Refusal(400, f"time: {what} duration {gojson.encode(value).decode()}")
    total = sum(float(number) * _SECONDS[unit] for number, unit in _TERM.findall(value))
    return -total if value.startswith("-") else total


def integers(value: Any, path: str) -> list[int]:
    for item in array(value, path, "[]int"):
        if type(item) is not int:
            raise Refusal(400, gojson.misfit(item, path, "int"))
    return list(value)
