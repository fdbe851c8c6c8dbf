"""Native records to OpenAI's chat answers: `chat.completion`, or a stream of `chat.completion.chunk`.

Fields stand in the order in which OpenAI sends them. Beyond OpenAI's there are `reasoning` and `reasoning_content`: the model's
thoughts under both names that clients look for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tornado_gateway.errors import GatewayError
from tornado_gateway.wire import sse
from tornado_gateway.wire.dialect import Stamp
from tornado_gateway.wire.ollama import Logprob, Record, TokenLogprob
from tornado_gateway.wire.openai_chat_turn import Call, FinishReason, Piece, Reading, Turn

_encode = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True):
    """What the encoders of a request have in common."""

    model: str
    """As the client spelled it."""
    digest: str
    choices: int
    reading: Reading
    include_usage: bool = False

    @property
    def fingerprint(self) -> str | None:
        """Changes when the model's weights or template change; None when its digest is not known."""
        return f"fp_{self.digest.removeprefix('sha256:')[:10]}" if self.digest else None

    def turns(self, stamp: Stamp) -> list[Turn]:
        return [Turn(self.reading, f"call_{stamp.id[:20]}{index:02d}") for index in range(self.choices)]


class UsageCount:
    """Ollama's counts, summed: the prompt of all choices is one, and is counted once."""

    def __init__(self) -> None:
        self._prompt = 0
        self._completion = 0

    def add(self, record: Record) -> None:
        self._prompt = max(self._prompt, record.prompt_eval_count)
        self._completion += record.eval_count

    def total(self) -> dict[str, int]:
        return {
            "prompt_tokens": self._prompt,
            "completion_tokens": self._completion,
            "total_tokens": self._prompt + self._completion,
        }


class WholeEncoder:
    """Keeps what the choices say and writes it at the end."""

    content_type = "application/json"

    def __init__(self, answer: Answer, stamp: Stamp) -> None:
        self._answer = answer
        self._stamp = stamp
        self._choices = [_WholeChoice(turn) for turn in answer.turns(stamp)]
        self._usage = UsageCount()

    def feed(self, index: int, records: Sequence[Record]) -> bytes:
        choice = self._choices[index]
        for record in records:
            choice.add(record)
            if record.done:
                self._usage.add(record)
        return b""

    def finish(self) -> bytes:
        return _encode(
            {
                "id": f"chatcmpl-{self._stamp.id}",
                "object": "chat.completion",
                "created": self._stamp.created,
                "model": self._answer.model,
                "choices": [choice.written(i, self._answer.reading.legacy) for i, choice in enumerate(self._choices)],
                "usage": self._usage.total(),
                "system_fingerprint": self._answer.fingerprint,
            }
        )

    def fail(self, error: GatewayError) -> bytes:
        return _encode({"error": error.body()})


class _WholeChoice:
    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._thinking: list[str] = []
        self._content: list[str] = []
        self._calls: list[Call] = []
        self._logprobs: list[Logprob] = []
        self._finish: FinishReason | None = None

    def add(self, record: Record) -> None:
        piece = self._turn.read(record)
        self._thinking.append(piece.thinking)
        self._content.append(piece.content)
        self._calls += piece.calls
        self._logprobs += piece.logprobs
        self._finish = piece.finish or self._finish

    def written(self, index: int, legacy: bool) -> dict[str, Any]:
        content = "".join(self._content)
        message: dict[str, Any] = {"role": "assistant", "content": content or (None if self._calls else "")}
        message.update(_thoughts("".join(self._thinking)))
        if self._calls:
            message.update({"function_call": _function(self._calls[0])} if legacy else {"tool_calls": _calls(self._calls)})
        message["refusal"] = None
        return {
            "index": index,
            "message": message,
            "logprobs": _logprobs(self._logprobs),
            "finish_reason": self._finish,
        }


class StreamEncoder:
    """Writes each record as it comes. What all chunks share is made once; the usual record costs one small encode."""

    content_type = sse.CONTENT_TYPE

    __slots__ = ("_choices", "_head", "_include_usage", "_introduced", "_usage")

    def __init__(self, answer: Answer, stamp: Stamp) -> None:
        shared = {
            "id": f"chatcmpl-{stamp.id}",
            "object": "chat.completion.chunk",
            "created": stamp.created,
            "model": answer.model,
            "system_fingerprint": answer.fingerprint,
        }
        self._head = b"data: " + _encode(shared)[:-1] + b',"choices":['
        end = b',"usage":null}\n\n' if answer.include_usage else b"}\n\n"
        self._include_usage = answer.include_usage
        self._choices = [
            _StreamedChoice(turn, answer.reading, self._head, end, index) for index, turn in enumerate(answer.turns(stamp))
        ]
        self._introduced = 0 if answer.choices > 1 else 1
        """So many choices have been introduced; one that is alone needs no introduction."""
        self._usage = UsageCount()

    def feed(self, index: int, records: Sequence[Record]) -> bytes:
        choice = self._choices[index]
        out: list[bytes] = []
        if index >= self._introduced:
            self._introduce(index, out)
        for record in records:
            message = record.message
            # A record that holds nothing but text, as nearly all do, needs no look at anything else.
            if (
                choice.plain
                and message is not None
                and message.content
                and not (record.done or message.thinking or message.tool_calls or record.logprobs)
            ):
                text = choice.before_text + _encode(message.content) + choice.after_text
                if len(records) == 1 and not out:
                    return text
                out.append(text)
                continue
            choice.write(record, out)
            if record.done:
                self._usage.add(record)
        return b"".join(out)

    def finish(self) -> bytes:
        if not self._include_usage:
            return sse.DONE
        return self._head + b'],"usage":' + _encode(self._usage.total()) + b"}\n\n" + sse.DONE

    def fail(self, error: GatewayError) -> bytes:
        return sse.event({"error": error.body()})

    def _introduce(self, index: int, out: list[bytes]) -> None:
        """Begin choices in order and with the role alone, as OpenAI does: openai-python puts a choice that it meets for the first time
        at the end of its list, whatever its index, and counts the log probabilities of such a chunk twice."""
        out.extend(choice.introduction() for choice in self._choices[self._introduced : index + 1])
        self._introduced = index + 1


class _StreamedChoice:
    __slots__ = (
        "_end",
        "_has_role",
        "_has_text",
        "_head",
        "_legacy",
        "_logprobs",
        "_may_be_plain",
        "_turn",
        "after_text",
        "before_text",
        "plain",
    )

    def __init__(self, turn: Turn, reading: Reading, head: bytes, end: bytes, index: int) -> None:
        self._turn = turn
        self._legacy = reading.legacy
        self._head = head + b'{"index":%d,"delta":' % index
        self._end = b"}]" + end
        self._has_role = False
        self._has_text = False
        self._logprobs: list[Logprob] = []
        self._may_be_plain = not reading.spoken_calls
        self.plain = False
        """Whether a record of text alone can be written without a look at it: not before the role has been said."""
        self.before_text = self._head + b'{"content":'
        self.after_text = b'},"logprobs":null,"finish_reason":null' + self._end

    def introduction(self) -> bytes:
        """The chunk that says the role and nothing else."""
        return self._chunk({})

    def write(self, record: Record, out: list[bytes]) -> None:
        piece = self._turn.read(record)
        self._logprobs += piece.logprobs
        out.extend(map(self._chunk, self._deltas(piece)))
        if piece.finish is not None:
            out.append(self._chunk({}, piece.finish))
        self.plain = self._may_be_plain and self._has_role and self._has_text and not (self._logprobs or self._turn.logprobs)

    def _deltas(self, piece: Piece) -> list[dict[str, Any]]:
        deltas: list[dict[str, Any]] = []
        if piece.thinking:
            deltas.append(_thoughts(piece.thinking))
        if piece.content:
            deltas.append({"content": piece.content})
            self._has_text = True
        if piece.calls:
            first = self._turn.calls - len(piece.calls)
            called = (
                {"function_call": _function(piece.calls[0])} if self._legacy else {"tool_calls": _calls(piece.calls, first)}
            )
            # OpenAI says in an answer's first chunk that there is no text beside the call.
            deltas.append(called if self._has_role or deltas else {"content": None, **called})
        ends_in_text = piece.finish is not None and not self._turn.calls
        if ends_in_text and (not self._has_text or (self._logprobs and not deltas)):
            # An answer without text has the empty text, and so has its stream; what is left of logprobs needs a place.
            deltas.append({"content": ""})
        return deltas

    def _chunk(self, delta: dict[str, Any], finish: FinishReason | None = None) -> bytes:
        if not self._has_role:
            delta = {"role": "assistant", **delta}
            self._has_role = True
        logprobs, self._logprobs = _logprobs(self._logprobs), []
        return b"".join(
            (
                self._head,
                _encode(delta),
                b',"logprobs":',
                _encode(logprobs),
                b',"finish_reason":',
                _encode(finish),
                self._end,
            )
        )


def _thoughts(thinking: str) -> dict[str, Any]:
    return {"reasoning": thinking, "reasoning_content": thinking} if thinking else {}


def _function(call: Call) -> dict[str, Any]:
    return {"name": call.name, "arguments": call.arguments}


def _calls(calls: Sequence[Call], first: int | None = None) -> list[dict[str, Any]]:
    """`first` is the index of the first call, which only chunks carry: Ollama's own indexes repeat in older builds."""
    written = []
    for number, call in enumerate(calls):
        index = {} if first is None else {"index": first + number}
        written.append({**index, "id": call.id, "type": "function", "function": _function(call)})
    return written


def _logprobs(entries: Sequence[Logprob]) -> dict[str, Any] | None:
    if not entries:
        return None
    content = [{**_token(entry), "top_logprobs": [_token(top) for top in entry.top_logprobs or ()]} for entry in entries]
    return {"content": content, "refusal": None}


def _token(entry: Logprob | TokenLogprob) -> dict[str, Any]:
    return {"token": entry.token, "logprob": entry.logprob, "bytes": entry.bytes}
