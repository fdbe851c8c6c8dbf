"""The head of a request, from bytes to what a Tornado application wants: pure, and strict.

By RFC 9112 with none of its leniency: what two parties could read in two ways is refused. Bare line ends, folded lines, space
around names, and framing that is told twice or not in digits are how one request is smuggled inside another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tornado.httputil import HTTPHeaders, HTTPInputError, RequestStartLine, parse_request_start_line

from tornado_gateway.errors import HeadersTooLarge, InvalidRequest

_END = b"\r\n\r\n"
_BARE_END = re.compile(rb"\n\r?\n")
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\r\n"))
_FIELDS = re.compile(r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n]*\r\n)*")
_TAB_IN_CODING = re.compile(r"^transfer-encoding:[^\r\n]*\t", re.IGNORECASE | re.MULTILINE)
_LENGTH_DIGITS = 15
"""A petabyte: as many as a length may have before anyone makes a number of it."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head. `length` is that of the body in bytes, None for a body in chunks; 0 is no body."""

    start: RequestStartLine
    headers: HTTPHeaders
    length: int | None

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits to be told to send the body."""
        return self.headers.get("Expect", "").lower() == "100-continue" and self.start.version != "HTTP/1.0"


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
    first, _, fields = data[:-2].decode("latin-1").partition("\r\n")
    if not _FIELDS.fullmatch(fields):
        raise malformed()
    try:
        start = parse_request_start_line(first)
    except HTTPInputError as error:
        raise malformed() from error
    headers = HTTPHeaders()
    for line in fields.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        if name in headers:
            headers.add(name, value.strip(" \t"))
        else:  # without the checks of `add`: the pattern above has made them
            headers[name] = value.strip(" \t")
    return Head(start, headers, _body_length(start, headers, fields))


def too_long(most: int) -> HeadersTooLarge:
    return HeadersTooLarge(f"The request's head is larger than {most} bytes.")


def malformed() -> InvalidRequest:
    return InvalidRequest("The request is malformed.")


def _line_ends() -> InvalidRequest:
    return InvalidRequest("The lines of a request's head must end with CR and LF.")


def _body_length(start: RequestStartLine, headers: HTTPHeaders, fields: str) -> int | None:
    length, coding = headers.get("Content-Length"), headers.get("Transfer-Encoding")
    if coding is not None:
        plain = coding.lower() == "chunked" and not _TAB_IN_CODING.search(fields)
        if length is not None or not plain or start.version == "HTTP/1.0":
            raise malformed()
        return None
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit()) or len(length) > _LENGTH_DIGITS:
        raise malformed()  # also one that stands twice: joined by a comma it is no number
    return int(length)
