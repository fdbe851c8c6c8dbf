"""Log probabilities in the older shape."""

from __future__ import annotations

from tornado_gateway.wire.ollama import Logprob, TokenLogprob
from tornado_gateway.wire.openai_completions_logprobs import Offsets, likelihood


def test_offsets_continue_from_chunk_to_chunk() -> None:
    offsets = Offsets(3)

    first = offsets.written([Logprob("ab", -1.0), Logprob("c", -1.0)])
    second = offsets.written([Logprob("d", -1.0)])

    assert (first["text_offset"], second["text_offset"]) == ([3, 5], [6])


def test_the_four_lists_are_of_equal_length_and_the_end_is_left_out() -> None:
    entries = [Logprob("a", -1.0, top_logprobs=[TokenLogprob("b", -0.5)]), Logprob("", -0.1)]

    written = Offsets().written(entries)

    assert written == {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"b": -0.5, "a": -1.0}], "text_offset": [0]}


def test_a_token_without_alternatives_is_its_own_only_one() -> None:
    """OpenAI's document has no null here, and a client that reads a place of the list would fail on one."""
    assert Offsets().written([Logprob("a", -1.0)])["top_logprobs"] == [{"a": -1.0}]


def test_the_likelihood_is_a_mean_so_that_short_texts_do_not_win_by_being_short() -> None:
    assert likelihood([Logprob("a", -1.0), Logprob("b", -2.0)]) == -1.5
    assert likelihood([Logprob("a", -1.0)] * 9) > likelihood([Logprob("a", -1.1)])


def test_an_unknown_likelihood_is_the_least() -> None:
    assert likelihood([]) < likelihood([Logprob("a", -1000.0)])
