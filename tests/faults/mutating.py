"""Valid bytes made invalid: mutated and cut as mitmproxy's fuzzers do it, from a corpus that keeps what once failed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "corpus"
ODD = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b" ",
    b"\t",
    b":",
    b"0\r\n\r\n",
    b"-1",
    b"+",
    b"0x",
    b";a=b",
    b"99999999999999999999",
]
ODD += [
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"HTTP/1.1 ",
]


def corpus(kind: str) -> dict[str, bytes]:
    """By name. Files that failed once are kept here for ever: `requests/` and `responses/`, as they went over the wire."""
    return {path.stem: path.read_bytes() for path in sorted((CORPUS / kind).glob("*.http"))}


@st.composite
def mutated(draw: st.DrawFn, kind: str) -> bytes:
    """One of the corpus after up to three changes."""
    data = draw(st.sampled_from(sorted(corpus(kind).values())))
    for _ in range(draw(st.integers(0, 3))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 8))
        put = draw(st.sampled_from([b"", *ODD]) | st.binary(max_size=4))
        data = (
            data[:at] + put + data[at + length :] if draw(st.booleans()) else data[:at] + data[at : at + length] * 2 + data[at:]
        )
    return data


def cut(data: bytes, places: set[int]) -> list[bytes]:
    """The same bytes in pieces."""
    edges = [0, *sorted(place for place in places if place < len(data)), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges) if begin < end]


PLACES = st.sets(st.integers(1, 600), max_size=12)
