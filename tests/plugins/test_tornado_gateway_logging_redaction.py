"""What looks like a key is cut; what is no plain data is only named."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway_logging_redaction import MOST_CHARACTERS, cleaned, exception_facts, named, redacted, short


@pytest.mark.parametrize(
    "text",
    [
        "tg_canary0123",
        "no tg_canary0123 here",
        "/x_tg_canary0123",
        "sk-canary0123",
        "sk-proj-canary_0123",
        "ghp_canary0123",
        "hf_canary0123",
        "Authorization: Bearer canary with spaces",
        "authorization: basic canary==",
        "http://user:canary@host/",
        "/v1/models?api_key=canary&x=1",
        "redis://host/0?password=canary",
        "/token?client_secret=canary",
        "eyJcanary0123.canary.canary",
    ],
)
def test_what_looks_like_a_key_is_cut(text: str) -> None:
    assert "canary" not in redacted(text)
    assert "[redacted]" in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "llama3.2:1b",
        "hf.co/unsloth/gpt-oss-20b-GGUF:Q4_K_M",
        "/v1/chat/completions",
        "ask-me-anything",
        "http://host:11434/a",
        "",
    ],
)
def test_names_and_addresses_stay(text: str) -> None:
    assert redacted(text) == text


@given(st.text())
def test_any_text_can_be_redacted(text: str) -> None:
    assert isinstance(redacted(text), str)


def test_a_password_that_is_cut_in_two_is_redacted_whole() -> None:
    assert "canary" not in cleaned("m" * (MOST_CHARACTERS - 20) + " http://user:canary-canary@host/")


def test_a_long_text_from_a_client_is_cut() -> None:
    assert len(short("m" * 10**6) or "") == MOST_CHARACTERS
    assert short("m" * MOST_CHARACTERS) == "m" * MOST_CHARACTERS
    assert short(None) is None


class Secretive:
    def __repr__(self) -> str:
        return "canary"


def test_plain_data_stays_and_other_things_are_named_by_type() -> None:
    facts = {"n": 1, "f": 1.5, "none": None, "list": ("a", True), "deep": {"a": {"b": {"c": 1}}}, "thing": Secretive()}

    assert cleaned(facts) == {
        "n": 1,
        "f": 1.5,
        "none": None,
        "list": ["a", True],
        "deep": {"a": {"b": "dict"}},
        "thing": "Secretive",
    }


def test_an_exception_is_told_by_class_and_place_but_not_by_its_message() -> None:
    try:
        try:
            raise KeyError("canary")
        except KeyError as error:
            raise ValueError("canary") from error
    except ValueError as error:
        facts = exception_facts(error)

    assert facts["exception_type"] == "ValueError <- KeyError"
    assert len(facts["exception_at"]) == 1
    assert facts["exception_at"][0].startswith("plugins/test_tornado_gateway_logging_redaction.py:")
    assert "canary" not in str(facts)


def test_the_systems_own_words_are_told() -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/secret/path")

    assert named(error) == "OSError (No space left on device)"
    assert cleaned({"reason": error}) == {"reason": "OSError (No space left on device)"}


def test_causes_that_go_in_a_circle_come_to_an_end() -> None:
    first, second = ValueError(), TypeError()
    first.__cause__, second.__cause__ = second, first

    assert exception_facts(first)["exception_type"].count(" <- ") == 3
