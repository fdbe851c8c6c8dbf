"""Heads as clients send them, and as nobody should."""

import pytest

from tornado_gateway.downstream.head import Head, head_end, read_head
from tornado_gateway.errors import InvalidRequest


def head(*lines: str, first: str = "POST /v1/x?a=b HTTP/1.1") -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


def read(*lines: str, first: str = "POST /v1/x?a=b HTTP/1.1", host: str = "Host: localhost") -> Head:
    return read_head(head(host, *lines, first=first))


def test_what_stands_in_a_head_is_found() -> None:
    found = read("X-Some:  a b \t", "content-length: 12", "x-some: c", "Empty:", "Umlaut: ü")

    assert tuple(found.start) == ("POST", "/v1/x?a=b", "HTTP/1.1")
    assert found.fields == {
        "host": "localhost",
        "x-some": "a b,c",
        "content-length": "12",
        "empty": "",
        "umlaut": "ü",
    }
    assert found.repeated == {"x-some"}
    assert found.length == 12


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ((), 0),
        (("Content-Length: 0",), 0),
        (("Content-Length: 007",), 7),
        (("Transfer-Encoding: chunked",), None),
        (("Transfer-Encoding: Chunked",), None),
    ],
)
def test_the_length_of_a_body(lines: tuple[str, ...], length: int | None) -> None:
    assert read(*lines).length == length


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: -1",),
        ("Content-Length: +1",),
        ("Content-Length: 1_0",),
        ("Content-Length: ",),
        ("Content-Length: ²",),
        ("Content-Length: 1, 1",),
        ("Content-Length: 1", "Content-Length: 1"),
        ("Content-Length: " + "1" * 16,),
        ("Content-Length: 1", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked\t",),
        ("Transfer-Encoding: \tchunked",),
        ("Transfer-Encoding:",),
        (" folded: a",),
        ("X : a",),
        (": a",),
        ("X",),
        ("Ü: a",),
        ("X: a\0b",),
        ("X: a\x7fb",),
        ("X: a\rb",),
        ("X: a\nb",),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest):
        read(*lines)


@pytest.mark.parametrize(
    "first",
    ["GET / HTTP/2.0", "GET / HTTP/1", "GET /", "GET  / HTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1", "G(T / HTTP/1.1", ""],
)
def test_a_first_line_that_is_none_is_refused(first: str) -> None:
    with pytest.raises(InvalidRequest):
        read(first=first)


def test_chunks_are_not_known_to_http_1_0() -> None:
    with pytest.raises(InvalidRequest):
        read("Transfer-Encoding: chunked", first="POST / HTTP/1.0")


@pytest.mark.parametrize(
    ("line", "version", "expects"),
    [
        ("Expect: 100-continue", "1.1", True),
        ("expect: 100-Continue", "1.1", True),
        ("Expect: 100-continue", "1.0", False),
        ("Expect: other", "1.1", False),
        ("X: y", "1.1", False),
    ],
)
def test_who_waits_to_be_told_to_send_the_body(line: str, version: str, expects: bool) -> None:
    assert read(line, first=f"POST / HTTP/{version}").expects_continue is expects


def test_the_end_of_a_head_is_found_wherever_the_search_begins() -> None:
    whole = head("Host: localhost")

    assert head_end(whole + b"body\r\n\r\n", 0) == len(whole)
    assert head_end(whole[:-1], 0) == -1
    for seen in range(len(whole)):
        assert head_end(whole, max(0, seen - 3)) == len(whole)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_a_head_that_ended_in_bare_line_feeds_is_refused_at_once(end: bytes) -> None:
    with pytest.raises(InvalidRequest):
        head_end(b"GET / HTTP/1.1\nHost: localhost" + end, 0)


@pytest.mark.parametrize(
    "host", ["X: y", "Host: a b", "Host: a,b", "Host: a/b", "Host: ü", "Host: a%00b", "Host: a\r\nHost: a"]
)
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(InvalidRequest):
        read(host=host)


@pytest.mark.parametrize("host", ["Host:", "Host: [::1]:80", "Host: Some-name.example:3000"])
def test_hosts_are_names_and_addresses(host: str) -> None:
    assert read(host=host).fields["host"] == host.partition(":")[2].strip()


def test_http_1_0_needs_no_host() -> None:
    assert "host" not in read(first="GET / HTTP/1.0", host="X: y").fields
