"""Many records of one answer folded into one: what a whole answer says. `fold(replay(x)) == x`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tornado_gateway.wire.ollama import Logprob, Message, Record, ToolCall

MAX_ANSWER_BYTES = 8 * 1024 * 1024
_JOIN_AFTER = 64


class _Text:
    """Text in pieces, joined now and then: a string object for each token would cost more than the text."""

    __slots__ = ("_joined", "pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._joined: list[str] = []
        self.size = 0

    def join(self) -> None:
        """Make one piece of the last ones. What was joined before is left alone: joining it anew would cost its square."""
        text = "".join(self.pieces)
        self.pieces.clear()
        self._joined.append(text)
        self.size += len(text)

    def whole(self) -> str:
        return "".join((*self._joined, *self.pieces))


class Folder:
    """Collects the records of one answer, up to a bound of characters."""

    __slots__ = ("_content", "_count", "_dropped", "_join_at", "_last", "_logprobs", "_max_size", "_thinking", "_tool_calls")

    def __init__(self, max_size: int = MAX_ANSWER_BYTES) -> None:
        self._max_size = max_size
        self._content = _Text()
        self._thinking = _Text()
        self._tool_calls: list[ToolCall] = []
        self._logprobs: list[Logprob] = []
        self._last: Record | None = None
        self._count = 0
        self._join_at = _JOIN_AFTER
        self._dropped = False

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            message = record.message
            if message is not None and not record.done and record.logprobs is None and message.tool_calls is None:
                # A token, as nearly all records are: it costs two list operations.
                self._count += 1
                self._content.pieces.append(message.content)
                if message.thinking:
                    self._thinking.pieces.append(message.thinking)
            else:
                self._add(record)
        if self._count > self._join_at:
            self._join()

    def whole(self) -> Record | None:
        """The whole answer; None when its end has not come, or when it is over the bound."""
        last = self._last
        if self._count == 1 and last is not None:
            return last
        self._join()
        if last is None or self._dropped:
            return None
        content, thinking = self._content.whole(), self._thinking.whole()
        tool_calls = tuple(self._tool_calls) or None
        logprobs = tuple(self._logprobs) or None
        if last.message is None:
            return msgspec.structs.replace(last, response=content, thinking=thinking, tool_calls=tool_calls, logprobs=logprobs)
        message = Message(last.message.role, content, thinking, tool_calls)
        return msgspec.structs.replace(last, message=message, logprobs=logprobs)

    def _add(self, record: Record) -> None:
        self._count += 1
        message = record.message
        content, thinking, calls = (
            (record.response, record.thinking, record.tool_calls)
            if message is None
            else (message.content, message.thinking, message.tool_calls)
        )
        self._content.pieces.append(content)
        self._thinking.pieces.append(thinking)
        if calls:
            self._tool_calls.extend(calls)
        if record.logprobs:
            self._logprobs.extend(record.logprobs)
        if record.done or record.embeddings is not None:
            self._last = record

    def _join(self) -> None:
        """Join the last pieces of both texts; nothing is kept of an answer over the bound."""
        self._join_at = self._count + _JOIN_AFTER
        self._content.join()
        self._thinking.join()
        if self._content.size + self._thinking.size > self._max_size:
            self._dropped = True
            self._content, self._thinking = _Text(), _Text()


def fold(records: Sequence[Record]) -> Record | None:
    """One record that says what `records` say; None when they are not a whole answer."""
    folder = Folder()
    folder.add(records)
    return folder.whole()
