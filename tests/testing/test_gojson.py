"""JSON as Go writes and reads it."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.testing.gojson import NotJSON, decode, encode, folded, kind, misfit

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_written_is_read_again(value: Any) -> None:
    data = encode(value)

    assert decode(data) == json.loads(data) == value
    assert not any(character in data for character in (b"<", b">", b"&", b"\xe2\x80\xa8", b"\xe2\x80\xa9"))


@given(st.binary(max_size=40))
def test_any_bytes_are_json_or_are_not(data: bytes) -> None:
    with contextlib.suppress(NotJSON):
        encode(decode(data))


def test_the_first_value_counts_and_the_last_of_equal_keys() -> None:
    assert decode(b' {"a":1,"a":2} {"a":3}') == {"a": 2}


def test_what_nests_too_deeply_is_refused() -> None:
    with pytest.raises(NotJSON, match="depth"):
        decode(b"[" * 100_000)


def test_fields_are_found_without_regard_to_case() -> None:
    names = frozenset({"stream", "model"})

    assert folded({"STREAM": 1, "Model": "a", "model": None, "other": 2}, names) == {"stream": 1, "model": "a"}


@pytest.mark.parametrize(
    ("value", "word"), [("", "string"), (True, "bool"), (1, "number"), (1.5, "number"), ([], "array"), ({}, "object")]
)
def test_kinds_have_gos_words(value: Any, word: str) -> None:
    assert kind(value) == word


def test_a_fraction_is_named_where_an_integer_belongs() -> None:
    assert misfit(1.5, "A.b", "int") == "json: cannot unmarshal number 1.5 into Go struct field A.b of type int"
