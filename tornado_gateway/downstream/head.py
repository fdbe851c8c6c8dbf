"""The head of a request, from bytes to what a Tornado application wants: pure, and strict.

By RFC 9112 with none of its leniency: what two parties could read in two ways is refused. Bare line ends, folded lines, space
around names, and framing that is told twice or not in digits are how one request is smuggled inside another.
"""

from __future__ import annotations

import re

import msgspec
from tornado.httputil import HTTPInputError, RequestStartLine, parse_request_start_line

from tornado_gateway.errors import HeadersTooLarge, InvalidRequest

_END = b"\r\n\r\n"
_BARE_END = re.compile(rb"\n\r?\n")
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\r\n"))
_FIELDS = re.compile(r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n]*\r\n)*")
_HOST = re.compile(r"[A-Za-z0-9\-._~!$&'()*+;=:\[\]]*")
_TAB_IN_CODING = re.compile(r"^transfer-encoding:[^\r\n]*\t", re.IGNORECASE | re.MULTILINE)
_LENGTH_DIGITS = 15
"""A petabyte: as many as a length may have before anyone makes a number of it."""


class Head(msgspec.Struct, frozen=True):
    """A request's head: its headers by their names in lower case, values of one that stands more than once joined by commas."""

    start: RequestStartLine
    fields: dict[str, str]
    repeated: frozenset[str]
    """The names of headers that stand more than once."""
    length: int | None
    """Of the body, in bytes; None for one in chunks, 0 for none."""

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits to be told to send the body."""
        return self.fields.get("expect", "").lower() == "100-continue" and self.start.version != "HTTP/1.0"


def head_end(data: bytes | bytearray, start: int) -> int:
    """Where the head at the beginning of `data` ends, -1 while it has not ended. `start` is where to begin to look.

    Raises `InvalidRequest` for a head that ended in bare line feeds: nothing else would come.
    """
    end = data.find(_END, start)
    if end >= 0:
        return end + len(_END)
    if _BARE_END.search(data, start):
        raise _line_ends()
    return -1


def read_head(data: bytes) -> Head:
    """A whole head, its blank line included. Raises `InvalidRequest`."""
    if not data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
        raise _line_ends()
    if len(data.translate(None, _CONTROLS)) != len(data):
        raise InvalidRequest("A request's head must not hold control characters.")
    first, _, lines = data[:-2].decode("latin-1").partition("\r\n")
    if not _FIELDS.fullmatch(lines):
        raise malformed()
    try:
        start = parse_request_start_line(first)
    except HTTPInputError as error:
        raise malformed() from error
    fields: dict[str, str] = {}
    repeated = set()
    for line in lines.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name in fields:
            repeated.add(name)
            value = f"{fields[name]},{value}"
        fields[name] = value
    _check_host(start, fields)
    return Head(start, fields, frozenset(repeated), _body_length(start, fields, lines))


def too_long(most: int) -> HeadersTooLarge:
    return HeadersTooLarge(f"The request's head is larger than {most} bytes.")


def malformed() -> InvalidRequest:
    return InvalidRequest("The request is malformed.")


def _line_ends() -> InvalidRequest:
    return InvalidRequest("The lines of a request's head must end with CR and LF.")


def _check_host(start: RequestStartLine, fields: dict[str, str]) -> None:
    host = fields.get("host")
    if host is None and start.version != "HTTP/1.0":
        raise malformed()
    if host is not None and not _HOST.fullmatch(host):  # so also for two, which are joined by a comma
        raise malformed()


def _body_length(start: RequestStartLine, fields: dict[str, str], lines: str) -> int | None:
    length, coding = fields.get("content-length"), fields.get("transfer-encoding")
    if coding is not None:
        plain = coding.lower() == "chunked" and not _TAB_IN_CODING.search(lines)
        if length is not None or not plain or start.version == "HTTP/1.0":
            raise malformed()
        return None
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit()) or len(length) > _LENGTH_DIGITS:
        raise malformed()  # also one that stands twice: joined by a comma it is no number
    return int(length)
