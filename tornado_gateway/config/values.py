"""The kinds of values that settings have, each with one sentence for whoever writes another kind.

Nothing is guessed: `"3000"` in quotes is a text and no number. Only a text that came from the environment as a whole may become one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, SecretStr, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WORDS: Mapping[str, object] = {"true": True, "false": False, "null": None, "~": None}

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING_HEADERS = frozenset(
    (
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_DURATION = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+|0")
_YEAR = 31_536_000
_API_SUFFIX = re.compile(r"/api(/(chat|generate|embed))?/*$")


class FilledIn(str):
    """A text that was filled in from the environment; `whole` when nothing but the one reference stood there."""

    __slots__ = ("whole",)
    whole: bool

    @classmethod
    def of(cls, text: str, *, whole: bool) -> FilledIn:
        filled = cls(text)
        filled.whole = whole
        return filled


def retyped(value: Any) -> Any:
    """What YAML would have read had the text stood in the file: the environment knows no numbers."""
    if not isinstance(value, FilledIn) or not value.whole:
        return value
    text = value.strip()
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return _WORDS.get(text.lower(), str(value))


class Unshown(ValueError):
    """Of a value that may hold a secret: it is told what is wrong with it, not what it is."""


def _unshown(check: Callable[[Any], Any]) -> BeforeValidator:
    def checked(value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise Unshown(*error.args) from None

    return BeforeValidator(checked)


@dataclass(frozen=True, slots=True)
class _Number:
    """Checks a number and its range in one go, so that there is one sentence about both."""

    fits: Callable[[Any], bool]
    words: str
    schema: Mapping[str, float]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        optional = type(None) in get_args(source)

        def validate(value: Any) -> Any:
            value = retyped(value)
            if self.fits(value) or (value is None and optional):
                return value
            raise ValueError(self.words + (", or null" if optional else ""))

        return core_schema.no_info_before_validator_function(validate, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        described = handler(schema)
        (described["anyOf"][0] if "anyOf" in described else described).update(self.schema)
        return described


def whole(low: int, high: int | None = None) -> _Number:
    """A whole number from `low` to `high`."""

    def fits(value: Any) -> bool:
        return type(value) is int and value >= low and (high is None or value <= high)

    if high is None:
        return _Number(fits, f"must be a whole number of at least {low}", {"minimum": low})
    return _Number(fits, f"must be a number from {low} to {high}", {"minimum": low, "maximum": high})


def seconds(*, zero: bool = False) -> _Number:
    """A time in seconds, fractions allowed; a year at most, so that no timer overflows."""

    def fits(value: Any) -> bool:
        return type(value) in (int, float) and (value >= 0 if zero else value > 0) and value <= _YEAR

    words = f"must be a number of seconds {'from 0' if zero else 'above 0'} to {_YEAR}"
    return _Number(fits, words, {"minimum" if zero else "exclusiveMinimum": 0, "maximum": _YEAR})


def _flag(value: Any) -> Any:
    value = retyped(value)
    if type(value) is not bool:
        raise ValueError("must be true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text (put it in quotes)")  # pydantic collects ValueError only
    if not value.strip() or not value.isprintable():
        raise ValueError("must be a text that is not empty, without line breaks")
    return str(value.strip())


def _host(value: Any) -> str:
    host = _text(value)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", host):
        raise ValueError("must be an address to listen at, such as 127.0.0.1, ::1, 0.0.0.0 (everybody) or a host name")
    return host


def _host_name(value: Any) -> str:
    name = _text(value).lower()
    if not re.fullmatch(r"\[?[a-z0-9._:-]+\]?", name) or "//" in name:
        raise ValueError("must be a host name, without scheme and path")
    return name


def _origin(value: Any) -> str:
    origin = _text(value).rstrip("/").lower()
    if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", origin):
        raise ValueError('must be an origin such as https://chat.example.org, or "*" for every web page')
    return origin


def _upstream_url(value: Any) -> str:
    """Ollama's address without a slash at its end. `/api`, `/api/chat`, `/api/generate` and `/api/embed` at the end are cut: the program before took such an address."""
    url = _text(value)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("must be an address such as http://localhost:11434") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with http:// or https:// and name a host, such as http://localhost:11434")
    if "@" in parts.netloc:
        raise ValueError("must not hold credentials; put them into upstream.headers")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError("must not hold a query or a fragment")
    if not re.fullmatch(r"[!-~]+", url):
        raise ValueError("must be ASCII without spaces")
    path = _API_SUFFIX.sub("", parts.path).rstrip("/")
    return f"{parts.scheme}://{parts.netloc.lower()}{path}"


def _headers(value: Any) -> dict[str, str | SecretStr]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a mapping (lines of `Name: value`)")  # pydantic collects ValueError only
    for place, (name, text) in enumerate(value.items(), 1):
        # Its place, not its name: of `{X-Api-Key:secret}` YAML makes a name without a value, and so it does of `{secret}`.
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"number {place} does not have the name of a header (lines of `Name: value`)")
        if text is None:
            raise ValueError(f"number {place} has no value (lines of `Name: value`)")
        if name.lower() in _FRAMING_HEADERS:
            raise ValueError(f"{name} belongs to the connection and cannot be set")
        if isinstance(text, SecretStr):
            text = text.get_secret_value()
        if not isinstance(text, str) or not text.isprintable() or not text.isascii():
            raise ValueError(f"{name} must be a printable ASCII text (put it in quotes)")
    return {name: text if isinstance(text, SecretStr) else str(text) for name, text in value.items()}


def _targets(value: Any) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not items:
        raise ValueError('must be the name of a model, or a list of names that is not empty ("*": any chat model)')
    return tuple(_text(item) for item in items)


def _options(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be a mapping of Ollama's options (lines of `name: value`)")
    options = {name: retyped(option) for name, option in value.items()}
    for name, option in options.items():
        if isinstance(option, list) and all(isinstance(item, str) for item in option):
            continue
        if not isinstance(option, bool | int | float | str):
            raise ValueError(f"{name} must be a number, a text, true, false or a list of texts")
    return options


def _keep_alive(value: Any) -> Any:
    value = retyped(value)
    if value is None or type(value) in (int, float):
        return value
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return str(value)
    raise ValueError('must be a number of seconds (-1: for ever) or a duration such as "5m", or null')


def _think(value: Any) -> Any:
    value = retyped(value)
    if value is None or type(value) is bool or value in ("low", "medium", "high", "max"):
        return value
    raise ValueError("must be true, false, low, medium, high or max, or null")


Flag = Annotated[bool, BeforeValidator(_flag)]
Text = Annotated[str, BeforeValidator(_text)]
Host = Annotated[str, BeforeValidator(_host)]
HostName = Annotated[str, BeforeValidator(_host_name)]
Origin = Annotated[str, BeforeValidator(_origin)]
UnshownText = Annotated[str, _unshown(_text)]
UpstreamURL = Annotated[str, _unshown(_upstream_url)]
Headers = Annotated[dict[str, SecretStr], _unshown(_headers)]
Targets = Annotated[
    tuple[str, ...],
    BeforeValidator(_targets),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
Options = Annotated[dict[str, Any], BeforeValidator(_options)]
KeepAlive = Annotated[str | int | float | None, BeforeValidator(_keep_alive)]
Think = Annotated[bool | str | None, BeforeValidator(_think)]
