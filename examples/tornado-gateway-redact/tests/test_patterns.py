import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado_gateway_redact_patterns import PATTERNS, Stream, redacted

WORDS = {kind: f"[{kind}]" for kind in PATTERNS}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to a.b+c@ex-ample.co.uk.", "Write to [email]."),
        ("4111 1111 1111 1111, 4111-1111-1111-1111, 4111111111111111", "[card], [card], [card]"),
        ("DE89 3704 0044 0532 0130 00 IS MINE", "[iban] IS MINE"),
        ("GB29NWBK60161331926819", "[iban]"),
        ("+49 (0) 30 1234567, (555) 123-4567, 030 12345678, 0171/1234567", "[phone], [phone], [phone], [phone]"),
        ("电话+86 138 0013 8000。", "电话[phone]。"),
    ],
)
def test_personal_data_is_taken_out(text: str, expected: str) -> None:
    assert redacted(text, WORDS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # a wrong checksum
        "DE88 3704 4444 4532 9130 99",
        "2024-01-02 10:20:30",
        "3.14159265358979 and 0.123456789012",
        "ISBN 978-3-16-148410-0",
        "1234567 of 7654321",
        "192.168.0.1",
        "a@b, @property, x @ y.z",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert redacted(text, WORDS) == text


SAMPLES = (
    "me@example.org", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "+49 30 1234567", "030 12345678", "GB29NWBK60161331926819",
    "hello", " ", "  ", ", ", "\n", "1", "12", "A", "AB", "-", "@", ".", "(", "é", "好", "1234 5678",
)  # fmt: skip


@settings(deadline=None)  # machines that test are busy
@given(st.lists(st.sampled_from(SAMPLES), max_size=12), st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_however_a_text_is_cut_the_same_comes_out(parts: list[str], sizes: list[int]) -> None:
    text = "".join(parts)
    stream, out, place = Stream(WORDS), "", 0
    for number in range(len(text)):
        size = sizes[number % len(sizes)]
        out += stream.feed(text[place : place + size])
        place += size

    assert out + stream.finish() == redacted(text, WORDS)


def test_words_go_out_as_soon_as_the_next_begins() -> None:
    stream = Stream(WORDS)

    assert [stream.feed(piece) for piece in ("He", "llo", " there", ", you")] == ["", "", "Hello ", "there, "]


def test_what_is_held_back_has_a_bound() -> None:
    stream = Stream(WORDS)

    out = "".join(stream.feed("abcdefghij") for _ in range(1000))

    assert len(out) > 9000
    assert out + stream.finish() == "abcdefghij" * 1000


def test_an_address_in_a_long_run_is_found() -> None:
    text = "x" * 700 + "=me@example.org=" + "y" * 700
    stream = Stream(WORDS)

    out = "".join(stream.feed(text[place : place + 7]) for place in range(0, len(text), 7)) + stream.finish()

    assert "example.org" not in out


@pytest.mark.parametrize("text", ["1 " * 5000, "a" * 50_000, "a@" * 5000, "((((" * 5000, "A1 " * 5000])
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()

    redacted(text, WORDS)
    stream = Stream(WORDS)
    stream.feed(text)

    assert time.process_time() - began < 2
