"""Which of a native call's log probabilities are those of its text.

Ollama gives those of all tokens: of thoughts, of what a grammar made a model write, of marks between them. OpenAI's clients
read the list as the tokens of the text, the first of them as the model's first word.
"""

from __future__ import annotations

from collections.abc import Sequence

from tornado_gateway.wire.ollama import Logprob


class TextLogprobs:
    """Reads one native call, record by record."""

    __slots__ = ("_apart", "_waiting")

    def __init__(self) -> None:
        self._apart = False
        """Whether tokens have come that are not the text's, and no text since."""
        self._waiting: list[Logprob] = []
        """Those of which it will be known when text comes."""

    def of(self, entries: Sequence[Logprob], text: str, *, apart: bool) -> Sequence[Logprob]:
        """Those that belong to `text`, which came with `entries`; `apart`: so did something else, or the text was held back."""
        self._apart = self._apart or apart
        if not self._apart:
            return entries
        self._waiting += entries
        if not text:
            return ()
        waiting, self._waiting, self._apart = self._waiting, [], False
        return _spelling(waiting, text)


def _spelling(entries: Sequence[Logprob], text: str) -> Sequence[Logprob]:
    """The last ones, as many as the text is long: it comes behind all that is not text."""
    missing, kept = len(text), 0
    while missing > 0 and kept < len(entries):
        kept += 1
        missing -= len(entries[-kept].token)
    return entries[len(entries) - kept :]
