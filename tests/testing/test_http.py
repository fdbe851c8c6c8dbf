"""Requests out of bytes, however these are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.testing.http import BadRequest, Request, RequestReader

LENGTH = b"POST /a?b HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nx-two: 2\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
BARE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def requests(*parts: bytes) -> list[Request]:
    reader, found = RequestReader(), []
    for part in parts:
        reader.feed(part)
        while (request := reader.next()) is not None:
            found.append(request)
    return found


def test_a_request_has_its_parts() -> None:
    (request,) = requests(LENGTH)

    assert (request.method, request.target, request.path, request.body) == ("POST", "/a?b", "/a", b"hello")
    assert request.headers["x-two"] == "1, 2"
    assert request.keep_alive


@given(st.lists(st.integers(0, len(LENGTH + CHUNKED + BARE)), max_size=8))
def test_however_bytes_are_cut_the_same_requests_come_out(places: list[int]) -> None:
    data = LENGTH + CHUNKED + BARE
    cuts = [0, *sorted(places), len(data)]

    found = requests(*(data[start:end] for start, end in pairwise(cuts)))

    assert found == requests(data)
    assert [request.body for request in found] == [b"hello", b"hello", b""]
    assert [request.keep_alive for request in found] == [True, True, False]


def test_a_head_without_an_end_is_refused_at_its_bound() -> None:
    with pytest.raises(BadRequest, match="431"):
        requests(b"GET / HTTP/1.1\r\n" + b"x" * (1 << 20))
