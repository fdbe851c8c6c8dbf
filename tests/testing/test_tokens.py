"""Pieces of text as a tokeniser makes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.testing.tokens import count, pieces, prompt_tokens


@given(st.text())
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert "" not in pieces(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The capital of France is Paris.", ["The", " capital", " of", " France", " is", " Paris", "."]),
        ("naïve café", ["naïve", " café"]),
        ("日本😀", ["日", "本", "😀"]),
        ("12345", ["123", "45"]),
        ('{\n  "a": 1', ["{", "\n ", ' "', "a", '"', ":", " 1"]),
    ],
)
def test_words_keep_their_leading_space(text: str, expected: list[str]) -> None:
    assert list(pieces(text)) == expected


def test_a_chat_costs_what_the_recordings_say() -> None:
    assert prompt_tokens([{"role": "user", "content": "What is the capital of France?"}]) == 16
    assert prompt_tokens([{"role": "user", "content": "word " * 3000}]) == 3010
    assert prompt_tokens([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]) == 19


def test_very_long_texts_are_estimated() -> None:
    assert count("word " * 100_000) == 125_000
