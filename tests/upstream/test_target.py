from __future__ import annotations

import pytest

from tornado_gateway.upstream.target import request_head, target_of


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("http://localhost:11434", "localhost", 11434, "localhost:11434", "/"),
        ("http://example.org/a/b?c=d#e", "example.org", 80, "example.org", "/a/b?c=d"),
        ("https://example.org", "example.org", 443, "example.org", "/"),
        ("https://example.org:8443/", "example.org", 8443, "example.org:8443", "/"),
        ("http://[::1]:11434/api", "::1", 11434, "[::1]:11434", "/api"),
        ("HTTP://Example.org/A", "example.org", 80, "example.org", "/A"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, port: int, authority: str, path: str) -> None:
    target = target_of(url)

    assert (target.host, target.port, target.authority, target.path) == (host, port, authority, path)
    assert target.origin == (url.lower().startswith("https"), host, port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "ftp://a",
        "http://",
        "http://a:x",
        "http://a:99999",
        "http://u:p@a",
        "http://a/\n",
        "http://a/ b",
        "http://é",
    ],
)
def test_what_cannot_be_sent_as_it_is_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        target_of(url)


def test_framing_headers_are_the_gateways_own() -> None:
    names = ["host", "Content-Length", "CONNECTION", "Accept-Encoding", "Transfer-Encoding", "Expect"]
    names.append("TE")  # codespell:ignore te
    theirs = [(name, "x") for name in names]

    head = request_head("POST", target_of("http://a/b"), [*theirs, ("X-Kept", "é")], 3)

    assert head == b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX-Kept: \xe9\r\n\r\n"


@pytest.mark.parametrize(
    ("name", "value"), [("X", "a\r\nb"), ("X", "a\nb"), ("X", "a\0"), ("X:", "a"), ("", "a"), ("X Y", "a"), ("X", "€")]
)
def test_a_header_that_cannot_be_sent_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError):
        request_head("GET", target_of("http://a"), [(name, value)], None)
