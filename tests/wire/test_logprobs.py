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


def whole(tokens: Sequence[str], text: str, *, thought: str = "", called: bool = False) -> list[int]:
    """The places of the tokens that a whole answer shows; without thoughts and calls its text was held back."""
    read = TextLogprobs().of(entries(tokens), text, thought=thought, held=not (thought or called), called=called, done=True)
    return [-round(entry.logprob) for entry in read]


def read(
    reader: TextLogprobs,
    entries: Sequence[Logprob],
    text: str = "",
    *,
    thought: str = "",
    called: bool = False,
    done: bool = False,
) -> Sequence[Logprob]:
    """One record of a stream."""
    return reader.of(entries, text, thought=thought, held=False, called=called, done=done)


def test_without_anything_else_they_are_all_of_the_text() -> None:
    """Also those whose text comes later: a parser holds back what may be the begin of a mark."""
    of_text = TextLogprobs()
    held, said, last = entries(["<", "b", ""])

    assert read(of_text, [held]) == ()
    assert read(of_text, [said], "<b") == [held, said]
    assert read(of_text, [last], done=True) == [last]


@given(thought=WORDS, said=WORDS.filter(bool), call=WORDS)
def test_a_stream_and_a_whole_answer_tell_the_same(thought: list[str], said: list[str], call: list[str]) -> None:
    """Marks stand between the parts, as in every template; a token that ends the answer has no text."""
    tokens = [*thought, "[/]", *said, "[!]", *call, ""]
    all_of_them, streamed = entries(tokens), TextLogprobs()
    begin, end = len(thought) + 1, len(thought) + 1 + len(said)

    told: list[Logprob] = []
    for entry in all_of_them[: begin - 1]:
        told += read(streamed, [entry], thought=entry.token)
    told += read(streamed, [all_of_them[begin - 1]], thought="" if thought else "a")
    for entry in all_of_them[begin:end]:
        told += read(streamed, [entry], entry.token)
    for entry in all_of_them[end:-1]:
        told += read(streamed, [entry])
    told += read(streamed, all_of_them[-1:], called=True, done=True)

    assert told == all_of_them[begin:end]
    assert whole(tokens, "".join(said), thought="".join(thought) or "[/]", called=True) == list(range(begin, end))


@given(thought=WORDS, said=WORDS.filter(bool))
def test_behind_thoughts_the_end_of_the_answer_is_of_the_text(thought: list[str], said: list[str]) -> None:
    tokens = [*thought, "[/]", *said, ""]

    assert whole(tokens, "".join(said), thought="".join(thought) or "[/]") == list(range(len(thought) + 1, len(tokens)))


@given(said=WORDS.filter(bool), call=WORDS, more=WORDS.filter(bool))
def test_text_on_both_sides_of_a_call_is_found_in_a_stream(said: list[str], call: list[str], more: list[str]) -> None:
    all_of_them, streamed = entries([*said, "[!]", *call, "[.]", *more]), TextLogprobs()
    end, again = len(said), len(said) + len(call) + 2

    told: list[Logprob] = []
    for entry in all_of_them[:end]:
        told += read(streamed, [entry], entry.token)
    told += read(streamed, all_of_them[end:again], called=True)
    for entry in all_of_them[again:]:
        told += read(streamed, [entry], entry.token)

    assert told == all_of_them[:end] + all_of_them[again:]


@given(other=WORDS, said=WORDS.filter(bool), parts=st.integers(1, 4))
def test_a_character_that_stands_in_several_tokens_is_found_with_all_its_parts(
    other: list[str], said: list[str], parts: int
) -> None:
    split = [piece for word in said for piece in ([word] if word.isascii() or len(word) > 1 else [PART] * parts)]
    begin = len(other) + 1

    assert whole([*other, "[/]", *split, "\n"], "".join(said)) == list(range(begin, begin + len(split)))
    assert whole([*split, "[!]", *other], "".join(said), called=True) == list(range(len(split)))


@pytest.mark.parametrize(
    ("tokens", "text", "shown"),
    [
        (["a thought", "</think>", "\n\nHi", " you", ""], "Hi you", [2, 3, 4]),
        (["Hi", "</think>", "Hi"], "Hi", [2]),
        (["Hi", "thought", " you"], "Hi you", []),  # not in one piece: better none than a thought
        (["a", PART], "b", []),
        (["a", "b"], "", []),
    ],
)
def test_the_tokens_of_a_text_are_found_by_what_they_spell(tokens: list[str], text: str, shown: list[int]) -> None:
    assert whole(tokens, text, thought="x") == shown


def test_a_text_of_any_length_is_found() -> None:
    """Read once: letter by letter from every place it would take minutes."""
    many = 100_000
    tokens = ["a"] * many + ["</think>"] + ["a"] * many + [PART] * 3

    assert len(whole(tokens, "a" * many + "\U0001f600", thought="a" * many)) == many + 3
