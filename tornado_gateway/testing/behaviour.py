"""What the simulated Ollama is told to do: one frozen value, and the list of those still to come.

A field that is None leaves the matter as the server's default behaviour has it, and then as a healthy Ollama would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from tornado_gateway.testing.ledger import INFERENCE
from tornado_gateway.testing.native import NativeRequest
from tornado_gateway.testing.refusals import RUNNER_DIED

End = Literal["keep", "close", "reset", "hang"]
Framing = Literal["chunked", "length", "close", "both", "too_long", "too_short", "bad_chunk", "unterminated"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one request is answered. Times are in seconds; a *record* is one line of the answer."""

    text: str | None = None
    """What the model says; cut into pieces as a model would."""
    pieces: Sequence[str] | None = None
    """What it says, one record each."""
    thinking: str | None = None
    """What a thinking model thinks before; shown also by one that is not, if it is given here."""
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    """Calls such as `{"name": ..., "arguments": {...}}`, with `id` and `index` if they matter; () means none."""
    tokens: int | None = None
    """An answer of so many short words, cheap to make."""
    records: Sequence[Any] | None = None
    """The lines of a stream verbatim: bytes or text as they are, other values as JSON. Nothing is added."""
    done_reason: str | None = None
    prompt_tokens: int | None = None
    eval_tokens: int | None = None

    first_byte_seconds: float | None = None
    """Silence before the first byte, after the model's load and the wait for a slot."""
    load_seconds: float | None = None
    """How long the model takes to load when it is not loaded."""
    tokens_per_second: float | None = None
    """The pace of records. None sends them as fast as they can be written, each in its own write."""
    burst: bool | None = None
    """The whole answer in one write."""

    status: int | None = None
    """An answer with this status and `error` as its text; without `error`, `text` is the body as it stands."""
    error: str | None = None
    """Alone: an error line in the stream after `error_after` records, then a well-formed end."""
    error_after: int | None = None
    stop_after_records: int | None = None
    """Nothing is sent after so many records; 0 leaves the head alone. Then `end`, which is `close` unless given."""
    stop_after_bytes: int | None = None
    """Nothing is sent after so many bytes of the answer, head included; 0 sends nothing at all."""
    end: End | None = None
    """What happens to the connection afterwards. `hang` keeps it open and silent, `reset` sends RST."""
    without_done: bool | None = None
    """The record with `done: true` is left out; the body ends well."""

    framing: Framing | None = None
    """How the length of the body is told. `both` has two headers, `too_long` promises more bytes than come, `too_short` fewer,
    `bad_chunk` breaks the second chunk's size, `unterminated` ends without the zero chunk."""
    chunk_bytes: int | None = None
    """Chunks of so many bytes, whatever the records: a record may be split over two, or several share one."""
    records_per_chunk: int | None = None
    write_bytes: int | None = None
    """Each write has at most so many bytes, wherever that cuts ..."""
    write_seconds: float | None = None
    """... and is followed by so much silence."""
    without_last_newline: bool | None = None
    content_type: str | None = None
    headers: Mapping[str, str] | None = None
    """Added to the head."""
    redirect: str | None = None
    """307 to this address."""
    raw: bytes | None = None
    """These bytes are the whole answer, head and all. Then `end`, which is `close` unless given."""
    trailing: bytes | None = None
    """Bytes that follow a complete answer on the same connection."""

    def over(self, default: Behaviour) -> Behaviour:
        """This behaviour, with the default's value wherever nothing is said here."""
        if default is NOTHING:
            return self
        mine = {name: value for name in _NAMES if (value := getattr(self, name)) is not None}
        return Behaviour(**{**{name: getattr(default, name) for name in _NAMES}, **mine})


_NAMES = tuple(item.name for item in fields(Behaviour))
NOTHING = Behaviour()
"""A healthy Ollama."""


def say(text: str, **more: Any) -> Behaviour:
    """The model says this."""
    return Behaviour(text=text, **more)


def fail(status: int = 500, error: str = RUNNER_DIED) -> Behaviour:
    """An answer that is an error; the text is Ollama's when its runner dies, unless given."""
    return Behaviour(status=status, error=error)


def error_line(after_records: int, error: str = RUNNER_DIED, **more: Any) -> Behaviour:
    """A stream that begins well and then says that it failed, under status 200."""
    return Behaviour(error=error, error_after=after_records, **more)


def cut(*, after_bytes: int | None = None, after_records: int | None = None, reset: bool = False, **more: Any) -> Behaviour:
    """The connection ends in mid answer, with FIN or with RST."""
    end: End = "reset" if reset else "close"
    return Behaviour(stop_after_bytes=after_bytes, stop_after_records=after_records, end=end, **more)


def hang(after_records: int | None = None, **more: Any) -> Behaviour:
    """Silence for ever: before the head, or after so many records (0: after the head)."""
    before_head = 0 if after_records is None else None
    return Behaviour(stop_after_bytes=before_head, stop_after_records=after_records, end="hang", **more)


@dataclass(slots=True)
class Rule:
    """A behaviour and the requests it is for. `times` counts down; None never ends."""

    behaviour: Behaviour
    path: str | None = None
    """None: the three inference endpoints."""
    model: str | None = None
    text: str | None = None
    """Must occur in what was said last."""
    times: int | None = 1

    def matches(self, path: str, request: NativeRequest | None) -> bool:
        if path != self.path if self.path is not None else path not in INFERENCE:
            return False
        if self.model is not None and (request is None or request.model != self.model):
            return False
        return self.text is None or (request is not None and self.text in request.last_text)


class Script:
    """The rules in the order in which they were given; the first that matches is used."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> Rule:
        self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        if rule in self._rules:
            self._rules.remove(rule)

    def clear(self) -> None:
        self._rules.clear()

    def __len__(self) -> int:
        return len(self._rules)

    def take(self, path: str, request: NativeRequest | None) -> Behaviour | None:
        for rule in self._rules:
            if rule.matches(path, request):
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times <= 0:
                        self._rules.remove(rule)
                return rule.behaviour
        return None
