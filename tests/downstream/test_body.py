"""Bodies in whatever pieces they come."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.downstream.body import Body, ChunkedBody, PlainBody
from tornado_gateway.errors import InvalidRequest


def fed(body: Body, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """The body, and what lay behind it."""
    whole = b""
    for number, piece in enumerate(pieces):
        part, rest = body.feed(piece)
        whole += part
        if body.ended:
            return whole, rest + b"".join(pieces[number + 1 :])
        assert rest == b""
    return whole, b""


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


@given(st.binary(min_size=1, max_size=50), st.binary(max_size=20), st.lists(st.integers(0, 1000), max_size=10))
def test_a_body_by_length_ends_where_it_ends(content: bytes, behind: bytes, cuts: list[int]) -> None:
    body = PlainBody(len(content))

    assert fed(body, cut(content + behind, cuts)) == (content, behind)
    assert body.ended


def test_a_body_of_nothing_has_ended() -> None:
    assert PlainBody(0).ended


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    st.binary(max_size=20),
    st.lists(st.integers(0, 1000), max_size=10),
)
def test_chunks_are_put_together_and_end_where_they_end(chunks: list[bytes], behind: bytes, cuts: list[int]) -> None:
    coded = b"".join(b"%X\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    body = ChunkedBody()

    assert fed(body, cut(coded + behind, cuts)) == (b"".join(chunks), behind)
    assert body.ended


@pytest.mark.parametrize(
    "coded",
    [
        b"0x5\r\nabcde\r\n",
        b"-5\r\nabcde\r\n",
        b"+5\r\nabcde\r\n",
        b"5 \r\nabcde\r\n",
        b"\r\nabcde\r\n",
        b"5;a=b\r\nabcde\r\n",
        b"1" * 16 + b"\r\n",
        b"1" * 65,
        b"5\r\nabcdeXX",
        b"5\r\nabcde\nX",
        b"5\nabcde\r\n",
        b"0\r\nX: y\r\n\r\n",
    ],
)
def test_chunks_that_could_be_read_in_two_ways_are_refused(coded: bytes) -> None:
    with pytest.raises(InvalidRequest):
        fed(ChunkedBody(), [coded])
    with pytest.raises(InvalidRequest):
        fed(ChunkedBody(), [bytes([byte]) for byte in coded])


def test_a_size_that_nobody_can_send_is_only_a_number_here() -> None:
    body = ChunkedBody()

    assert body.feed(b"F" * 15 + b"\r\nabc") == (b"abc", b"")
    assert not body.ended
