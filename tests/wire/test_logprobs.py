"""Log probabilities of a text alone, out of all that a native call gives."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.wire.logprobs import TextLogprobs
from tornado_gateway.wire.ollama import Logprob

WORDS = st.lists(st.text("ab", min_size=1, max_size=3), max_size=5)


def entries(words: Sequence[str]) -> list[Logprob]:
    return [Logprob(word, -1.0) for word in words]


def test_without_anything_else_they_are_all_of_the_text() -> None:
    """Also those whose text came before or comes later: a parser holds back what may be the begin of a mark."""
    of_text = TextLogprobs()

    assert of_text.of(entries(["<"]), "", apart=False) == entries(["<"])
    assert of_text.of(entries(["b"]), "<b", apart=False) == entries(["b"])


@given(thought=WORDS, marks=WORDS, said=WORDS.filter(bool))
def test_a_stream_and_a_whole_answer_tell_the_same(thought: list[str], marks: list[str], said: list[str]) -> None:
    streamed, whole = TextLogprobs(), TextLogprobs()

    told = [*streamed.of(entries(thought), "", apart=True), *streamed.of(entries(marks), "", apart=False)]
    for word in said:
        told += streamed.of(entries([word]), word, apart=False)

    assert told == entries(said)
    assert whole.of(entries([*thought, *marks, *said]), "".join(said), apart=True) == entries(said)
