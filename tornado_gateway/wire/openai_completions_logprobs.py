"""Log probabilities in the older shape, four lists of equal length, and which of several texts is the likeliest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tornado_gateway.wire.ollama import Logprob


class Offsets:
    """Writes the tokens of one choice; counts where in its text each of them begins, over all chunks of a stream."""

    def __init__(self, start: int = 0) -> None:
        self._next = start

    def written(self, entries: Iterable[Logprob]) -> dict[str, Any]:
        """Where no alternatives were asked for, each token is its own only one: OpenAI's schema has no null there.

        The token that ends an answer has no text, and is left out.
        """
        shown = [entry for entry in entries if entry.token]
        return {
            "tokens": [entry.token for entry in shown],
            "token_logprobs": [entry.logprob for entry in shown],
            "top_logprobs": [_alternatives(entry) for entry in shown],
            "text_offset": [self._place(entry) for entry in shown],
        }

    def _place(self, entry: Logprob) -> int:
        place = self._next
        self._next += len(entry.token)
        return place


def likelihood(entries: Sequence[Logprob]) -> float:
    """The mean log probability of a text's tokens: OpenAI's measure for the best of several. Unknown is the least."""
    if not entries:
        return float("-inf")
    return sum(entry.logprob for entry in entries) / len(entries)


def _alternatives(entry: Logprob) -> dict[str, float]:
    """The likeliest tokens at this place, and the token itself, which need not be one of them."""
    return {**{top.token: top.logprob for top in entry.top_logprobs or ()}, entry.token: entry.logprob}
