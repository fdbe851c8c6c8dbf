"""Which of a native call's log probabilities are those of its text.

Ollama gives those of all tokens: of thoughts, of calls, of what a grammar made a model write, of marks between them. OpenAI's clients
read the list as the tokens of the text, the first of them as the model's first word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tornado_gateway.wire.ollama import Logprob

_PART = "\ufffd"
"""What Ollama puts for each part of a character that stands in more than one token."""
_RUN = re.compile(r"[\x00-\x7f]+|[^\x00-\x7f]+")


class TextLogprobs:
    """Reads one native call, record by record."""

    __slots__ = ("_apart", "_before", "_thoughts", "_waiting")

    def __init__(self) -> None:
        self._apart = False
        """Whether tokens have come that are not the text's, and no text since."""
        self._before = False
        """Whether some of those came before the text."""
        self._thoughts: list[str] = []
        self._waiting: list[Logprob] = []
        """Those that came without text: it will be known whose they are when text comes, or the end."""

    def of(
        self, entries: Sequence[Logprob], text: str, *, thought: str, held: bool, called: bool, done: bool
    ) -> Sequence[Logprob]:
        """Those that belong to `text`, which came with `entries`.

        `thought` came with it, too; `held`: the text was held back till now; `called`: calls came; `done`: nothing comes any more.
        """
        if thought:
            self._thoughts.append(thought)
        self._before = self._before or held or bool(thought)
        self._apart = self._apart or self._before or called
        if not text and not done:
            self._before = self._before or called  # text that comes now stands behind the call
            self._waiting += entries
            return ()
        if self._waiting:
            entries, self._waiting = [*self._waiting, *entries], []
        if not self._apart:
            return entries
        last, self._apart, self._before = self._before, False, False
        thoughts, self._thoughts = "".join(self._thoughts), []
        if thoughts and called:
            return _spelling(_behind(entries, thoughts), text, last=False)
        return _spelling(entries, text, last=last)


def _behind(entries: Sequence[Logprob], thought: str) -> Sequence[Logprob]:
    """Those that come after a thought."""
    begin = "".join([entry.token for entry in entries]).find(thought)
    left = begin + len(thought)
    for place, entry in enumerate(entries):
        if left <= 0:
            return entries[place:]
        left -= len(entry.token)
    return ()


def _spelling(entries: Sequence[Logprob], text: str, *, last: bool) -> Sequence[Logprob]:
    """Those of a text, which is the last, or else the first, of what they spell; none, where it does not stand there in one piece."""
    if not text:
        return ()
    told = "".join([entry.token for entry in entries])
    length = len(told)
    if last:
        told, text = told[::-1], text[::-1]
    blank = length - len(told.lstrip())
    begin, end = next(((begin, end) for begin in (0, blank) if (end := _end_in_parts(told, begin, text))), (-1, 0))
    if begin < 0:
        begin = told.find(text)
        end = begin + len(text)
    if begin < 0:
        return ()
    return _between(entries, length - end, length - begin) if last else _between(entries, begin, end)


def _end_in_parts(told: str, place: int, text: str) -> int:
    """Where a text ends that begins at this place, some of its characters in parts only; 0: something else is there.

    How many characters so many parts are is not known: they stand for all up to the next one of ASCII.
    """
    if told.startswith(text, place):
        return place + len(text)
    for run in _RUN.findall(text):
        if told.startswith(run, place):
            place += len(run)
            continue
        parts = _RUN.match(told, place)
        if run.isascii() or parts is None or _PART not in parts[0]:
            return 0
        place = parts.end()
    return place


def _between(entries: Sequence[Logprob], begin: int, end: int) -> Sequence[Logprob]:
    """Those with characters from `begin` to `end`, and what is empty right behind them: the token that ends an answer."""
    kept: list[Logprob] = []
    place = 0
    for entry in entries:
        behind = place + len(entry.token)
        if (place < end and behind > begin) or (kept and place == behind == end):
            kept.append(entry)
        place = behind
    return kept
