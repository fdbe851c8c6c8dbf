"""What a model says, record by record, in the parts that OpenAI tells apart: thoughts, text, calls, an end and its reason.

Both writers of answers read one native call through one `Turn`, so that a streamed answer and a whole one cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from tornado_gateway.wire.logprobs import TextLogprobs
from tornado_gateway.wire.ollama import Logprob, Message, Record, ToolCall

FinishReason = Literal["stop", "length", "tool_calls", "function_call"]

_SILENT = Message()
_encode = msgspec.json.Encoder().encode


class Reading(msgspec.Struct, frozen=True):
    """How the records of a request are to be read."""

    spoken_calls: frozenset[str] = frozenset()
    """Functions whose calls may come as text, because a grammar constrains it to calls; empty: text is text."""
    forced: bool = False
    """All text should be a call; otherwise it may as well be an answer."""
    one_call: bool = False
    legacy: bool = False


class Call(msgspec.Struct, frozen=True):
    """A call that the model asks for, as OpenAI writes it."""

    id: str
    name: str
    arguments: str


class Piece(msgspec.Struct, frozen=True):
    """What one record adds to the answer."""

    thinking: str = ""
    content: str = ""
    calls: Sequence[Call] = ()
    logprobs: Sequence[Logprob] = ()
    """Those of `content`, and of records before it that told nothing."""
    finish: FinishReason | None = None


class Turn:
    """Reads the records of one native call."""

    def __init__(self, reading: Reading, call_id: str) -> None:
        self._reading = reading
        self._call_id = call_id
        self._holding = bool(reading.spoken_calls)
        self._held = ""
        self._ids: set[str] = set()
        self.logprobs: TextLogprobs | None = None
        """Made when the first come: from then on it has to see every record."""
        self.calls = 0
        """How many calls the answer has so far."""

    def read(self, record: Record) -> Piece:
        message = record.message or _SILENT
        content = message.content
        calls = [self._call(call) for call in message.tool_calls if self._wanted()] if message.tool_calls else []
        held = self._holding
        if self._holding:
            content, spoken = self._listen(content, record)
            calls += spoken
        logprobs = record.logprobs or ()
        if logprobs or self.logprobs:
            self.logprobs = self.logprobs or TextLogprobs()
            logprobs = self.logprobs.of(
                logprobs, content, thought=message.thinking, held=held, called=bool(message.tool_calls), done=record.done
            )
        return Piece(
            thinking=message.thinking,
            content=content,
            calls=calls,
            logprobs=logprobs,
            finish=self._finish(record.done_reason) if record.done else None,
        )

    def _finish(self, done_reason: str | None) -> FinishReason:
        """Ollama's reason in OpenAI's words; `load`, `unload`, none and any that are not known yet are a plain stop."""
        if done_reason == "length":
            return "length"
        if not self.calls:
            return "stop"
        return "function_call" if self._reading.legacy else "tool_calls"

    def _listen(self, content: str, record: Record) -> tuple[str, Sequence[Call]]:
        """Holds text back until it is known to be a call or an answer: then what may be said, and the call."""
        self._held += content
        may_be_call = _may_be_call(self._held, self._reading)
        if may_be_call and not record.done:
            return "", ()
        self._holding = False
        held, self._held = self._held, ""
        # What a stream would have let go as text is text in a whole answer, too.
        spoken = _spoken_call(held, self._reading.spoken_calls) if may_be_call else None
        if spoken is not None:
            return "", [self._call(spoken)] if self._wanted() else ()
        # A forced call that the token limit cut is not told: half a call is nothing that a client could use.
        cut = self._reading.forced and record.done_reason == "length" and held.lstrip().startswith("{")
        return "" if cut else held, ()

    def _wanted(self) -> bool:
        return not (self._reading.one_call and self.calls)

    def _call(self, call: ToolCall) -> Call:
        """Ids are unique within an answer, whatever the model's template made; older builds of Ollama give none."""
        own = f"{self._call_id}{self.calls:03d}"
        ident = call.id if call.id and call.id not in self._ids else own
        self._ids.add(ident)
        self.calls += 1
        return Call(ident, call.function.name, _arguments(call.function.arguments))


def _arguments(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return _encode({} if arguments is None else arguments).decode()


def _may_be_call(text: str, reading: Reading) -> bool:
    """Whether more text could make this a call. Where a call is forced it always could: a fence or a blank may stand before it."""
    if reading.forced:
        return True
    # Blanks between the tokens of JSON do not matter here, and names of functions hold none.
    start = "".join(text.split())
    openings = [f'{{"name":"{name}","arguments":' for name in reading.spoken_calls]
    return any(opening.startswith(start) or start.startswith(opening) for opening in openings)


def _spoken_call(text: str, names: frozenset[str]) -> ToolCall | None:
    """The call that a text is; None when it is something else."""
    text = text.strip()
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json")
    try:
        call = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return None
    arguments = call.get("arguments", call.get("parameters"))
    if call.get("name") not in names or not isinstance(arguments, dict):
        return None
    return msgspec.convert({"function": {"name": call["name"], "arguments": arguments}}, ToolCall)
