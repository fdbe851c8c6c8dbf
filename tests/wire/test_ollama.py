from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.errors import UpstreamInvalidResponse
from tornado_gateway.wire.ollama import NativeCall, Record, RecordReader, decode_records, encode_records

LINES = [
    b'{"message":{"content":"a\xc2\x85\xe2\x80\xa8b"},"done":false}\n',
    b'{"response":"x","done":false}\n',
    b"\n",
    b"  \n",
    b'{"done":false}\r\n',
    b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"b":{},"a":1}}}]}}\n',
    b'{"done":true,"done_reason":"stop"}\n',
]


def read(parts: list[bytes], **options: int) -> list[Record]:
    reader = RecordReader(**options)  # type: ignore[arg-type]  # numbers and flags
    return [record for part in parts for record in reader.feed(part)] + reader.finish()


def cut(data: bytes, at: set[int]) -> list[bytes]:
    places = sorted(at)
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(st.sampled_from(LINES), max_size=12), st.sets(st.integers(0, 300), max_size=20), st.booleans())
def test_however_the_bytes_are_cut_the_records_are_the_same(lines: list[bytes], places: set[int], open_end: bool) -> None:
    data = b"".join(lines)
    if open_end:
        data = data.removesuffix(b"\n")
    expected = [msgspec.json.decode(line, type=Record) for line in lines if line.strip()]

    assert read(cut(data, {place for place in places if place < len(data)})) == expected


@pytest.mark.parametrize(
    ("data", "before"),
    [
        (b'{"done":true}{"done":false}\n', 0),
        (b'{"done":true}{"done":false}\n\n', 0),
        (b'{"done"\n:true}\n', 0),
        (b"<html>\n", 0),
        (b'{"done":false}\n[]\n{"done":true}\n', 1),
        (b'{"done":false}\n\n{"done":false}\n"x"\n', 2),
        (b'{"done":1}\n', 0),
        (b'{"response":"\xff"}\n', 0),
        (b'{"message":' + b"[" * 100_000 + b"\n", 0),
    ],
)
def test_a_line_that_is_no_record_is_refused_and_what_stood_before_it_is_kept(data: bytes, before: int) -> None:
    reader = RecordReader()

    with pytest.raises(UpstreamInvalidResponse):
        reader.feed(data)

    assert len(reader.salvaged) == before


def test_what_was_given_before_a_fault_is_not_given_again_with_it() -> None:
    reader = RecordReader(max_line_bytes=20)

    assert len(reader.feed(b'{"done":false}\n\n')) == 1  # a blank line: read one by one
    with pytest.raises(UpstreamInvalidResponse):
        reader.feed(b"x" * 21)

    assert reader.salvaged == []


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_c40_a_line_has_a_bound(end: bytes) -> None:
    line = b'{"response":"%s"}' % (b"x" * 85)

    assert len(read([line + end], max_line_bytes=100)) == 1
    for parts in ([line + end], [line[:50], line[50:] + end], [b'{"done":false}\n' + line + end]):
        with pytest.raises(UpstreamInvalidResponse):
            read(parts, max_line_bytes=99)


def test_many_short_lines_may_be_longer_than_one_line_together() -> None:
    assert len(read([b'{"done":false}\n' * 50], max_line_bytes=20)) == 50


def test_a_whole_answer_may_have_line_breaks() -> None:
    assert read([b'{"done"\n', b":true}\n"], whole=True) == [Record(done=True)]


def test_records_survive_a_file() -> None:
    records = read(LINES)

    assert decode_records(encode_records(records)) == records


@pytest.mark.parametrize(
    ("endpoint", "stream", "wire"),
    [
        ("/api/chat", True, b'{"a":1,"stream":true}'),
        ("/api/generate", False, b'{"a":1,"stream":false}'),
        ("/api/embed", False, b'{"a":1}'),
    ],
)
def test_stream_is_said_where_ollama_knows_it(endpoint: str, stream: bool, wire: bytes) -> None:
    call = NativeCall(endpoint, "m", "", b'{"a":1}', stream)  # type: ignore[arg-type]  # one of the three

    assert call.wire_body == wire
    assert call.request() == {"a": 1}
