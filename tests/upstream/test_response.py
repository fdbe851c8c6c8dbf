"""Pure: bytes to events, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upstream.raw import chunk, chunked, whole

from tornado_gateway.upstream.response import MAX_HEAD_BYTES, ResponseReader

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"


def read(*parts: bytes, without_body: bool = False) -> tuple[ResponseReader, bytes]:
    """The reader after these parts, and the body that it gave."""
    reader = ResponseReader(without_body=without_body)
    body = b""
    for part in parts:
        if reader.ended or reader.fault is not None:
            break
        reader.feed(part)
        body += b"".join(reader.pieces)
        reader.pieces.clear()
    reader.close()
    return reader, body


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(OK + b"\r\nbody", id="neither length nor chunks"),
        pytest.param(OK + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nbody", id="length and chunks"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", id="chunks and length"),
        pytest.param(OK + b"Content-Length: -4\r\n\r\nbody", id="a negative length"),
        pytest.param(OK + b"Content-Length: +4\r\n\r\nbody", id="a signed length"),
        pytest.param(OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody", id="two lengths"),
        pytest.param(OK + b"Content-Length: 99999999999999999999999\r\n\r\n", id="a length beyond counting"),
        pytest.param(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="a coded body"),
        pytest.param(OK + b"Transfer-Encoding: xchunked\r\n\r\nbody", id="an unknown coding"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked twice"),
        pytest.param(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunks in HTTP/1.0"),
        pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", id="an unknown version"),
        pytest.param(whole(b"body", extra=b"Content-Encoding: gzip\r\n"), id="a compressed body"),
        pytest.param(whole(b"", "999 Odd"), id="C44: status 999"),
        pytest.param(whole(b"", "600 Odd"), id="status 600"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", id="another protocol"),
        pytest.param(HINTS * 12 + whole(b"body"), id="C40: many interim responses"),
        pytest.param(b"garbage\r\n\r\n", id="no HTTP"),
        pytest.param(b"<html></html>", id="HTML and nothing else"),
        pytest.param(OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n", id="NUL in a header"),
        pytest.param(OK + b"Content-Length: 0\r\n folded\r\n\r\n", id="a folded header"),
        pytest.param(OK + b"X: %s\r\nContent-Length: 0\r\n\r\n" % (b"x" * 65536), id="C40: a head of 64 KB"),
        pytest.param(OK + b"X: y\r\n" * 8192 + b"Content-Length: 0\r\n\r\n", id="a head of many lines"),
        pytest.param(CHUNKED + b"-1\r\n", id="a negative chunk"),
        pytest.param(CHUNKED + b"F" * 17 + b"\r\n", id="a chunk beyond counting"),
        pytest.param(CHUNKED + b"1\n", id="a bare line feed behind a size"),
    ],
)
def test_c40_what_ollama_would_not_send_is_refused(response: bytes) -> None:
    reader, body = read(response)

    assert (reader.fault is not None, reader.ended, body) == (True, False, b"")


def test_the_fault_says_why() -> None:
    reader, _ = read(whole(b"", "999 Odd"))

    assert reader.fault is not None
    assert "999" not in str(reader.fault)
    assert "status" in str(reader.fault.__cause__)


def test_what_came_before_a_fault_is_kept() -> None:
    reader, body = read(CHUNKED + chunk(b"one") + chunk(b"two") + b"3\r\nthreeX")

    assert (reader.fault is not None, body) == (True, b"onetwothr")


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(CHUNKED + b"4;name=value\r\nbody\r\n0;x\r\n\r\n", id="chunk extensions"),
        pytest.param(chunked(b"body", end=b"0\r\nX-One: 1\r\nX-Two: 2\r\n\r\n"), id="trailers"),
        pytest.param(HINTS + HINTS + whole(b"body"), id="a few interim responses"),
        pytest.param(whole(b"body", extra=b"Content-Encoding: identity\r\n"), id="no compression, said aloud"),
    ],
)
def test_what_is_unusual_but_allowed_is_read(response: bytes) -> None:
    reader, body = read(response)

    assert (reader.ended, reader.fault, body) == (True, None, b"body")


@pytest.mark.parametrize(
    "start", [b"", CHUNKED + chunk(b"a") + b"0\r\n", CHUNKED + b"1;"], ids=["head", "trailers", "extension"]
)
def test_bytes_that_carry_nothing_are_not_read_for_ever(start: bytes) -> None:
    endless = (b"X: y\r\n" * 100,) * 100 if start != CHUNKED + b"1;" else (b"y" * 600,) * 100
    reader, _ = read((start or OK) + b"", *endless)

    assert reader.fault is not None


def test_framing_that_comes_in_reads_of_its_own_adds_up_to_no_fault() -> None:
    framing, many = (b"1\r\n", b"a", b"\r\n"), 2 * MAX_HEAD_BYTES // len(b"1\r\n\r\n")

    reader, body = read(CHUNKED, *framing * many, b"0\r\n\r\n")

    assert (reader.ended, reader.fault, len(body)) == (True, None, many)


def test_a_trailer_is_no_header() -> None:
    reader, _ = read(chunked(b"body", end=b"0\r\nContent-Type: late\r\n\r\n"))

    assert reader.headers["Content-Type"] == "application/x-ndjson"


def test_a_response_without_a_body_ends_with_its_head() -> None:
    reader, _ = read(b"HTTP/1.1 204 No\r\n\r\n")
    head, body = read(whole(b""), without_body=True)

    assert (reader.ended, reader.clean) == (True, True)
    assert (head.ended, head.clean, body) == (True, False, b"")


def test_an_unfinished_response_is_neither_ended_nor_at_fault() -> None:
    for response in (whole(b"body"), chunked(b"body"), chunked(b"body", end=b"0\r\nX: y\r\n\r\n")):
        for cut in range(len(response)):
            reader, _ = read(response[:cut])
            assert (reader.ended, reader.fault) == (False, None)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.data())
def test_however_a_response_is_cut_the_body_is_the_same(pieces: list[bytes], data: st.DataObject) -> None:
    response = chunked(*pieces) if data.draw(st.booleans()) else whole(b"".join(pieces))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(response) - 1), max_size=20)))
    parts = [response[start:end] for start, end in zip([0, *cuts], [*cuts, len(response)], strict=True)]

    reader, body = read(*parts)

    assert (reader.ended, reader.fault, body) == (True, None, b"".join(pieces))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_end_in_a_fault_or_an_end_or_wait(head: bytes, body: bytes) -> None:
    for response in (head, OK + head, CHUNKED + body, CHUNKED + chunk(b"a") + body):
        reader, _ = read(response)
        assert not (reader.fault and reader.ended)


def test_the_bound_of_a_head_is_what_it_says() -> None:
    fits = OK + b"X: %s\r\nContent-Length: 0\r\n\r\n" % (b"x" * (MAX_HEAD_BYTES - 100))

    assert read(fits)[0].ended
