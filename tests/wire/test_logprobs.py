"""Log probabilities of a text alone, out of all that a native call gives."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.wire.logprobs import TextLogprobs
from tornado_gateway.wire.ollama import Logprob

WORDS = st.lists(st.text("ab\U0001f600\u4f60", min_size=1, max_size=3), max_size=5)
PART = "\ufffd"


def entries(words: Sequence[str]) -> list[Logprob]:
    return [Logprob(word, -float(place)) for place, word in enumerate(words)]


def whole(tokens: Sequence[str], text: str, *, before: bool = True, behind: bool = False) -> list[str]:
    """The tokens that a whole answer with thoughts before its text, or calls behind it, shows."""
    of_text = TextLogprobs().of(entries(tokens), text, before=before, behind=behind, done=True)
    return [entry.token for entry in of_text]


def test_without_anything_else_they_are_all_of_the_text() -> None:
    """Also those whose text comes later: a parser holds back what may be the begin of a mark."""
    of_text = TextLogprobs()
    held, said, last = entries(["<", "b", ""])

    assert of_text.of([held], "", before=False, behind=False, done=False) == ()
    assert of_text.of([said], "<b", before=False, behind=False, done=False) == [held, said]
    assert of_text.of([last], "", before=False, behind=False, done=True) == [last]


@given(thought=WORDS, said=WORDS.filter(bool))
def test_behind_thoughts_a_stream_and_a_whole_answer_tell_the_same(thought: list[str], said: list[str]) -> None:
    """A mark stands between the two, as in every template; a token that ends the answer has no text."""
    tokens = entries([*thought, "[/]", *said, ""])
    streamed, begin = TextLogprobs(), len(thought)

    told = [*streamed.of(tokens[:begin], "", before=True, behind=False, done=False)]
    told += streamed.of([tokens[begin]], "", before=False, behind=False, done=False)
    for entry in tokens[begin + 1 : -1]:
        told += streamed.of([entry], entry.token, before=False, behind=False, done=False)
    told += streamed.of(tokens[-1:], "", before=False, behind=False, done=True)

    assert told == tokens[begin + 1 :]
    assert whole([entry.token for entry in tokens], "".join(said)) == [*said, ""]


@given(said=WORDS.filter(bool), call=WORDS)
def test_before_a_call_a_stream_and_a_whole_answer_tell_the_same(said: list[str], call: list[str]) -> None:
    tokens = entries([*said, "[!]", *call, ""])
    streamed, end = TextLogprobs(), len(said)

    told: list[Logprob] = []
    for entry in tokens[:end]:
        told += streamed.of([entry], entry.token, before=False, behind=False, done=False)
    for entry in tokens[end:-1]:
        told += streamed.of([entry], "", before=False, behind=False, done=False)
    told += streamed.of(tokens[-1:], "", before=False, behind=True, done=True)

    assert told == tokens[:end]
    assert whole([entry.token for entry in tokens], "".join(said), before=False, behind=True) == said


@given(other=WORDS, said=WORDS.filter(bool), parts=st.integers(1, 4))
def test_a_character_that_stands_in_several_tokens_is_found_with_all_its_parts(
    other: list[str], said: list[str], parts: int
) -> None:
    split = [piece for word in said for piece in ([word] if word.isascii() or len(word) > 1 else [PART] * parts)]

    assert whole([*other, "[/]", *split], "".join(said)) == split
    assert whole([*split, "[!]", *other], "".join(said), before=False, behind=True) == split


@pytest.mark.parametrize(
    ("tokens", "text", "shown"),
    [
        (["a thought", "</think>", "\n\nHi", " you", ""], "Hi you", ["\n\nHi", " you", ""]),
        (["Hi", "</think>", "Hi", "<call>", "{", "}"], "Hi", ["Hi"]),
        (["Hi", "thought", " you"], "Hi you", ["Hi", "thought", " you"]),  # not in one piece: who can tell
        (["a", PART], "b", ["a", PART]),
        (["a", "b"], "", []),
    ],
)
def test_the_tokens_of_a_text_are_found_by_what_they_spell(tokens: list[str], text: str, shown: list[str]) -> None:
    assert whole(tokens, text) == shown


def test_long_repetitions_are_read_in_one_go() -> None:
    tokens = ["a"] * 20_000 + ["</think>"] + ["a"] * 20_000 + [PART] * 3

    assert len(whole(tokens, "a" * 20_000 + "\U0001f600")) == 20_003
