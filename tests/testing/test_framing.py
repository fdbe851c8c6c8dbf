"""Heads, lengths and chunks."""

from typing import cast

import pytest

from tornado_gateway.testing.behaviour import Framing
from tornado_gateway.testing.framing import Head, framed

HEAD = Head(200, "text/plain", "X-A: b\r\n", 0.0)


def sent(framing: str, *parts: bytes, length: int | None = None, ended: bool = True) -> bytes:
    steps = framed(HEAD, iter([(0.0, part, 1) for part in parts]), cast(Framing, framing), 0.0, length=length, ended=ended)
    return b"".join(data for _, data, _ in steps)


def test_the_head_goes_out_with_the_first_part() -> None:
    first, *rest = framed(HEAD, iter([(0.0, b"a", 1), (0.5, b"b", 1)]), "chunked", 2.0, length=None, ended=True)

    assert first[0] == 2.0
    assert first[1].startswith(b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Type: text/plain\r\nDate: Thu, 01 Jan 1970")
    assert first[1].endswith(b"\r\n\r\n1\r\na\r\n")
    assert rest == [(0.5, b"1\r\nb\r\n", 1), (0.0, b"0\r\n\r\n", 0)]


@pytest.mark.parametrize(
    ("framing", "end"),
    [
        ("chunked", b"1\r\na\r\n0\r\n\r\n"),
        ("close", b"\r\n\r\na"),
        ("unterminated", b"1\r\na\r\n"),
        ("both", b"1\r\na\r\n0\r\n\r\n"),
    ],
)
def test_each_framing_ends_in_its_way(framing: str, end: bytes) -> None:
    assert sent(framing, b"a").endswith(end)


@pytest.mark.parametrize(("framing", "length"), [("length", 20), ("too_long", 120), ("too_short", 10)])
def test_a_length_is_true_too_long_or_too_short(framing: str, length: int) -> None:
    assert f"Content-Length: {length}\r\n\r\n".encode() in sent(framing, b"a" * 20, length=20)


def test_nothing_to_say_still_has_a_head() -> None:
    assert sent("chunked").endswith(b"\r\n\r\n0\r\n\r\n")
    assert sent("chunked", ended=False).endswith(b"chunked\r\n\r\n")
    assert sent("length", length=0).endswith(b"Content-Length: 0\r\n\r\n")


def test_a_status_that_nobody_knows_has_a_phrase() -> None:
    assert Head(999, "", "", 0.0).bytes("").startswith(b"HTTP/1.1 999 status code 999\r\n")
