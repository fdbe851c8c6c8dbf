"""Many records of one answer folded into one: what a whole answer says. `fold(replay(x)) == x`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tornado_gateway.wire.ollama import Logprob, Message, Record, ToolCall

MAX_ANSWER_BYTES = 8 * 1024 * 1024
_JOIN_AFTER = 64


class _Text:
    """Text in pieces, joined now and then: a string object for each token would cost more than the text."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.size = 0

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        self.size += len(piece)
        if len(self._pieces) > _JOIN_AFTER:
            self._pieces = ["".join(self._pieces)]

    def joined(self) -> str:
        return "".join(self._pieces)


class Folder:
    """Collects the records of one answer, up to a bound of characters."""

    def __init__(self, max_size: int = MAX_ANSWER_BYTES) -> None:
        self._max_size = max_size
        self._content = _Text()
        self._thinking = _Text()
        self._tool_calls: list[ToolCall] = []
        self._logprobs: list[Logprob] = []
        self._only: Record | None = None
        self._last: Record | None = None
        self._count = 0

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            self._add(record)

    def whole(self) -> Record | None:
        """The whole answer; None when its end has not come, or when it is over the bound."""
        last = self._last
        if last is None or self._content.size + self._thinking.size > self._max_size:
            return None
        if self._count == 1:
            return self._only
        content, thinking = self._content.joined(), self._thinking.joined()
        tool_calls = tuple(self._tool_calls) or None
        logprobs = tuple(self._logprobs) or None
        if last.message is None:
            return msgspec.structs.replace(last, response=content, thinking=thinking, tool_calls=tool_calls, logprobs=logprobs)
        message = Message(last.message.role, content, thinking, tool_calls)
        return msgspec.structs.replace(last, message=message, logprobs=logprobs)

    def _add(self, record: Record) -> None:
        self._count += 1
        self._only = record
        message = record.message
        content, thinking, calls = (
            (record.response, record.thinking, record.tool_calls)
            if message is None
            else (message.content, message.thinking, message.tool_calls)
        )
        if content:
            self._content.add(content)
        if thinking:
            self._thinking.add(thinking)
        if calls:
            self._tool_calls.extend(calls)
        if record.logprobs:
            self._logprobs.extend(record.logprobs)
        if record.done or record.embeddings is not None:
            self._last = record
        if self._content.size + self._thinking.size > self._max_size:
            self._content, self._thinking = _Text(), _Text()
            self._max_size = -1


def fold(records: Sequence[Record]) -> Record | None:
    """One record that says what `records` say; None when they are not a whole answer."""
    folder = Folder()
    folder.add(records)
    return folder.whole()
