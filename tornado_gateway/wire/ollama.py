"""Ollama's native form: the calls that are sent, the records that come back, bytes to records.

A *record* is one line of Ollama's answer. A streamed answer is many, the last with `done: true`; an answer that is not
streamed is one record with `done: true`. Source: the wire sheet of Ollama 0.33 and recordings of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from tornado_gateway.errors import UpstreamInvalidResponse

T = TypeVar("T")
Endpoint = Literal["/api/chat", "/api/generate", "/api/embed"]

MAX_LINE_BYTES = 8 * 1024 * 1024
"""Ollama's own client accepts lines of up to 8 MB; a longer one is not an answer of Ollama's."""


class ToolCallFunction(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str = ""
    arguments: Any = None
    """A JSON object, decoded; the order of its keys is kept."""
    index: int = 0


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that the model asks for: always whole, never in fragments."""

    function: ToolCallFunction
    id: str = ""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    role: str = "assistant"
    content: str = ""
    thinking: str = ""
    tool_calls: Sequence[ToolCall] | None = None


class TokenLogprob(msgspec.Struct, frozen=True, omit_defaults=True):
    token: str
    logprob: float
    bytes: Sequence[int] | None = None


class Logprob(msgspec.Struct, frozen=True, omit_defaults=True):
    token: str
    logprob: float
    bytes: Sequence[int] | None = None
    top_logprobs: Sequence[TokenLogprob] | None = None


class Record(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One line of an answer to `/api/chat`, `/api/generate` or `/api/embed`.

    Durations are in nanoseconds; counts are tokens. `message` is chat's, `response`, `thinking` and `tool_calls` are
    generate's, `embeddings` is embed's: one raw JSON array of numbers for each input. A record with `error` ends the answer,
    whatever came before it.
    """

    model: str = ""
    created_at: str = ""
    message: Message | None = None
    response: str = ""
    thinking: str = ""
    tool_calls: Sequence[ToolCall] | None = None
    done: bool = False
    done_reason: str | None = None
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    logprobs: Sequence[Logprob] | None = None
    embeddings: Sequence[msgspec.Raw] | None = None
    error: str | None = None


class NativeCall(msgspec.Struct, frozen=True):
    """One call to Ollama, whole and checked.

    `body` is the canonical JSON of the request without `stream`: two calls that ask for the same have the same bytes,
    whatever the order, spelling or dialect in which they were asked. It is made anew from what was checked; no byte of
    the client's body reaches Ollama.
    """

    endpoint: Endpoint
    model: str
    """The name as `/api/tags` spells it."""
    digest: str
    """The model's digest as in `/api/tags`; "" when it is not known."""
    body: bytes
    stream: bool
    index: int = 0
    """Which of the request's native calls this is: 0, 1, …"""
    deterministic: bool = False
    """Temperature 0 or a seed was asked for."""
    prompt_tokens_estimate: int = 0
    """A rough count of the prompt's tokens, made from its length before Ollama has counted them."""
    max_tokens: int | None = None
    """The most tokens that the answer may have, where the caller or the operator set a bound."""
    tools: bool = False
    """Whether the model may call tools; Ollama sends nothing while it writes a call."""

    @property
    def wire_body(self) -> bytes:
        """The bytes to send to Ollama: `body` with `stream` added."""
        if self.endpoint == "/api/embed":
            return self.body
        return self.body[:-1] + (b',"stream":true}' if self.stream else b',"stream":false}')

    def request(self) -> dict[str, Any]:
        """The request decoded: a fresh copy at every call, so that no plugin can change what is sent."""
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        return decoded


_NO_RECORD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decoder = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()
_calls = msgspec.json.Decoder(tuple[ToolCall, ...])
_logprobs = msgspec.json.Decoder(tuple[Logprob, ...])


def decode_record(line: bytes | bytearray | memoryview) -> Record:
    """One record from one line; raises `UpstreamInvalidResponse` when the line is not one."""
    try:
        return _decoder.decode(line)
    except _NO_RECORD as error:
        raise UpstreamInvalidResponse("Ollama sent a line that is not one of its records.") from error


def encode_records(records: Iterable[Record]) -> bytes:
    """Records as lines of JSON: what a cache may keep in a file."""
    # `encode_lines` gives bytes that keep the room of its buffer, three times as much: too dear for ten thousand that are kept.
    return b"".join([_encoder.encode(record) + b"\n" for record in records])


def decode_records(data: bytes) -> list[Record]:
    """The opposite of `encode_records`; raises `UpstreamInvalidResponse` for what is none."""
    try:
        return _decoder.decode_lines(data)
    except _NO_RECORD as error:
        raise UpstreamInvalidResponse("These are not lines of records.") from error


def own_copy(record: Record) -> Record:
    """A record that shares nothing changeable with the given one: calls, probabilities and vectors stand in lists and objects."""
    message = record.message
    if message is not None and message.tool_calls:
        record = msgspec.structs.replace(
            record, message=msgspec.structs.replace(message, tool_calls=_copied(_calls, message.tool_calls))
        )
    if record.tool_calls or record.logprobs or record.embeddings:
        record = msgspec.structs.replace(
            record,
            tool_calls=record.tool_calls and _copied(_calls, record.tool_calls),
            logprobs=record.logprobs and _copied(_logprobs, record.logprobs),
            embeddings=record.embeddings and tuple(record.embeddings),
        )
    return record


def _copied(decoder: msgspec.json.Decoder[tuple[T, ...]], values: Sequence[T]) -> tuple[T, ...]:
    return decoder.decode(_encoder.encode(values))


class RecordReader:
    """Bytes of an answer to records; however the bytes are cut, the records are the same.

    Lines end at LF only: U+0085 and U+2028 are ordinary text in Ollama's JSON. Blank lines are skipped. With `whole`
    the answer is one JSON object that is decoded at its end, line breaks or not.
    Raises `UpstreamInvalidResponse` at a line over `max_line_bytes` or one that is not a record.
    """

    __slots__ = ("_max_line_bytes", "_rest", "_whole", "salvaged")

    def __init__(self, *, whole: bool = False, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._rest: bytearray | None = bytearray() if whole else None
        """What has come of a line, or of the whole; None between two lines."""
        self._whole = whole
        self._max_line_bytes = max_line_bytes
        self.salvaged: list[Record] = []
        """When `feed` raises: the records that stood before the fault in the same bytes."""

    def feed(self, data: bytes) -> list[Record]:
        """The records that `data` completes."""
        # The usual case by far: Ollama flushes each record by itself, so that a read is a line.
        length = len(data)
        if self._rest is None and data.find(b"\n") == length - 1 and length <= self._max_line_bytes:
            try:
                return [_decoder.decode(data)]
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return self._decode_one_by_one(data)
        lines: bytes | bytearray = data
        if self._rest is not None or not data.endswith(b"\n"):
            lines = self._completed_by(data)
        # One call for all lines: a third of the cost for a single record. It would also take two values on one line, or one
        # value on two, which are faults: the count of line ends, all of them behind a value, tells the usual from these.
        try:
            records: list[Record] | None = _decoder.decode_lines(lines) if len(lines) <= self._max_line_bytes else None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            records = None
        if records is None or not len(records) == lines.count(b"}\n") == lines.count(b"\n"):
            records = self._decode_one_by_one(lines)
        if self._rest is not None and len(self._rest) > self._max_line_bytes:
            self.salvaged = records
            self._check(len(self._rest))
        return records

    def _completed_by(self, data: bytes) -> bytes | bytearray:
        """The lines that `data` completes; what stands behind them is kept."""
        rest = self._rest if self._rest is not None else bytearray()
        # Only what is new can hold a line end: searching the rest again would make a long line cost its square.
        end = -1 if self._whole else data.rfind(b"\n") + 1
        if end <= 0:
            rest += data
            self._rest = rest
            return b""
        rest += memoryview(data)[:end]
        self._rest = bytearray(memoryview(data)[end:]) if end < len(data) else None
        return rest

    def finish(self) -> list[Record]:
        """The record that a last line without its LF holds, if there is one."""
        rest, self._rest = self._rest, None
        if not rest or rest.isspace():
            return []
        return [decode_record(rest)]

    def _decode_one_by_one(self, lines: bytes | bytearray) -> list[Record]:
        self.salvaged = []
        for line in lines.split(b"\n"):
            if line and not line.isspace():
                self._check(len(line))
                self.salvaged.append(decode_record(line))
        return self.salvaged

    def _check(self, length: int) -> None:
        if length > self._max_line_bytes:
            raise UpstreamInvalidResponse("Ollama sent a line that is longer than its lines may be.")


def encode_json(value: Any) -> bytes:
    """A value as compact JSON in UTF-8."""
    return _encoder.encode(value)
