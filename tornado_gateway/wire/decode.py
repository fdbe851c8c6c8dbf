"""A client's bytes to a typed value, or an error that says what is wrong in OpenAI's words.

Every dialect reads its bodies here, so that each kind of bad input gets the same answer at every address. Messages name the
field and the kind that is expected, never the value: a value may be a prompt or a secret. An explicit `null` is for the
caller to allow (`T | None`); the rule of all dialects is that it means "not given".
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from tornado_gateway.errors import InvalidJSON, InvalidRequest

T = TypeVar("T")

MAX_CONTAINERS = 200_000
"""Objects and arrays in one body, counted by their first characters wherever these stand, also in texts."""

MAX_COMMAS = 2_000_000

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])

_ERROR = re.compile(r"(?s)(?P<text>.*?)(?: - at `(?P<path>[^`]*)`)?$")
_EXPECTED = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")

_HALF_A_PAIR = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")

_KINDS = {
    "array": "an array",
    "bool": "a boolean",
    "float": "a number",
    "int": "an integer",
    "null": "null",
    "object": "an object",
    "str": "a string",
}


def decode_object(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as what `decoder` is for, a struct: fields that it does not know are skipped, the last of equal keys counts.

    Raises `InvalidJSON` for what is not one JSON object in UTF-8, and `InvalidRequest` with the `param` at fault for a value
    of the wrong kind or a field that is missing.
    """
    _check_text(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _mismatch(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJSON(f"The body is not valid JSON: {_fault(error, body)}.") from error
    except RecursionError as error:
        raise InvalidJSON("The body is nested too deeply.") from error


def decode_known(body: bytes, exact: msgspec.json.Decoder[T], decoder: msgspec.json.Decoder[T]) -> tuple[T, bool]:
    """As `decode_object`, and whether every field is known: `exact` is for the same struct and refuses others.

    So the usual body, whose fields are all known, is read once; their names need no second pass.
    """
    _check_text(body)
    try:
        return exact.decode(body), True
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # There is another field in it, or something is wrong with it, which `decode_object` says.
        return decode_object(body, decoder), False


def given_fields(body: bytes) -> tuple[str, ...]:
    """The names of the fields of a body that `decode_object` has accepted, in the body's order, without those that are null."""
    return tuple(name for name, value in _fields.decode(body).items() if bytes(value) != b"null")


def whole_number(value: float | None, param: str) -> int | None:
    """An integer; a number without a fraction, such as 1.0, counts as one, since several languages write integers so."""
    if value is None or isinstance(value, int):
        return value
    if not value.is_integer():
        raise InvalidRequest(f"`{param}` must be an integer, not a number with a fraction.", param=param)
    return int(value)


def check_range(value: float | None, param: str, low: float, high: float) -> None:
    """Raises `InvalidRequest` when `value` is given and not from `low` to `high`, both included."""
    if value is not None and not low <= value <= high:
        raise InvalidRequest(f"`{param}` must be from {low} to {high}.", param=param)


def required(param: str) -> InvalidRequest:
    """The error of a field that is missing, or null, and has no default."""
    return InvalidRequest(f"`{param}` is required.", param=param)


def _check_text(body: bytes) -> None:
    """What a decoder skips it does not look at, and what it says of other encodings helps nobody: both are told apart here."""
    if not body or body.isspace():
        raise InvalidJSON("The body is empty; a JSON object is needed.")
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\0" in body[:4]:
        raise InvalidJSON("The body must be JSON in UTF-8 without a byte order mark.")
    if len(body) > MAX_CONTAINERS:
        _check_parts(body)
    if body.isascii():
        return
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidJSON(f"The body is not UTF-8 (byte {error.start}).") from error


def _check_parts(body: bytes) -> None:
    """A decoder holds the interpreter until it is done, in whatever thread: 20 MB of `{},` would stop the event loop for a second.

    Pictures and sounds are long and have no parts; texts of that length fit no model.
    """
    if body.count(b"{") + body.count(b"[") > MAX_CONTAINERS:
        raise InvalidJSON(f"The body holds more than {MAX_CONTAINERS} objects and arrays.")
    if body.count(b",") > MAX_COMMAS:
        raise InvalidJSON(f"The body holds more than {MAX_COMMAS} commas.")


def _fault(error: Exception, body: bytes) -> str:
    """Where the text stops being JSON; msgspec's words name a byte's place, never its value."""
    text = str(error).removeprefix("JSON is malformed: ")
    truncated = text == "Input data was truncated"
    # Behind half a surrogate pair msgspec looks for the other half, and says what it finds there instead.
    if (truncated or "escape" in text) and _HALF_A_PAIR.search(body):
        return "a text holds half a surrogate pair"
    return "it ends too early" if truncated else text


def _mismatch(text: str) -> InvalidRequest:
    match = _ERROR.match(text)
    reason, path = (match["text"], match["path"]) if match else (text, None)
    param = _param(path)
    if missing := _MISSING.match(reason):
        return required(f"{param}.{missing['name']}" if param else missing["name"])
    if "out of range" in reason:
        return InvalidJSON(f"`{param}` is a number that is too large for JSON.", param=param)
    expected = _EXPECTED.match(reason)
    if expected is None:
        return InvalidRequest(f"`{param}` has a value that is not allowed.", param=param)
    if param is None:
        return InvalidJSON("The body must be a JSON object.")
    kinds = _alternatives(expected["expected"])
    return InvalidRequest(f"`{param}` must be {kinds}, not {_KINDS.get(expected['got'], 'this')}.", param=param)


def _param(path: str | None) -> str | None:
    """`$.messages[0].content` as OpenAI spells it; below a map, whose keys msgspec does not name, the map itself."""
    if path is None:
        return None
    return path.partition("[...]")[0].removeprefix("$").removeprefix(".") or None


def _alternatives(expected: str) -> str:
    names = [name for name in expected.split(" | ") if name != "null"]
    if "float" in names and "int" in names:
        names.remove("int")
    return " or ".join(_KINDS.get(name, "of another kind") for name in names)
