"""What was asked and answered, for those callers whose words may be written; of all others nothing is gathered.

Gathered as it flows, so that an answer that was cut or came from a cache is in the log as far as it went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tornado_gateway.hookspecs import NativeCall, Record, ToolCall, Transform

MOST_CHARACTERS = 20_000
"""Of a prompt or an answer, each."""
_ASKED = ("system", "prompt", "suffix", "input", "messages")


class Content:
    """The words of one request, over all its native calls."""

    def __init__(self) -> None:
        self._bodies: dict[int, bytes] = {}
        self._answers: dict[int, list[str]] = {}
        self._length = 0

    def listen(self, call: NativeCall) -> Transform:
        """A function that hears the records of a call, and changes none."""
        self._bodies[call.index] = call.body
        heard = self._answers.setdefault(call.index, [])

        def hear(record: Record) -> Record:
            text = said(record)
            if text and self._length < MOST_CHARACTERS:
                heard.append(text)
                self._length += len(text)
            return record

        return hear

    def prompt(self) -> str | None:
        """What was asked, as JSON, images left out. Costs time with long prompts: called in the writer's thread."""
        asked = [_asked(body) for _, body in sorted(self._bodies.items())]
        return _one_or_all(asked)

    def answer(self) -> str | None:
        """What was answered: the text, or a JSON list of texts where there were several calls."""
        answers = ["".join(parts) for _, parts in sorted(self._answers.items())]
        if len(answers) == 1:
            return answers[0]
        return _one_or_all(answers)


def said(record: Record) -> str:
    """The words of a record: text, and the calls of tools with what they are called with."""
    message = record.message
    calls = (message.tool_calls if message else record.tool_calls) or ()
    return (message.content if message else record.response) + "".join(_called(call) for call in calls)


def _called(call: ToolCall) -> str:
    return f"[calls {call.function.name} with {msgspec.json.encode(call.function.arguments).decode()}]"


def _asked(body: bytes) -> dict[str, Any]:
    request: Mapping[str, Any] = msgspec.json.decode(body)
    asked = {name: request[name] for name in _ASKED if name in request}
    if "messages" in asked:
        asked["messages"] = [{name: part for name, part in each.items() if name != "images"} for each in asked["messages"]]
    return asked


def _one_or_all(values: Sequence[Any]) -> str | None:
    if not values:
        return None
    return msgspec.json.encode(values[0] if len(values) == 1 else values).decode()
