"""Records as Ollama writes them: the keys, their order, and the numbers of the last one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from tornado_gateway.testing.answers import Answer, Piece
from tornado_gateway.testing.gojson import encode
from tornado_gateway.testing.models import FakeModel
from tornado_gateway.testing.native import NativeRequest

_LOADED_ALREADY_NS = 771_731
_ALTERNATIVES = (
    " the",
    ",",
    " a",
    ".",
    " and",
    " I",
    " of",
    "",
    " to",
    "\n",
    " in",
    " is",
    "!",
    " it",
    " that",
    " we",
    " you",
    " on",
    " for",
    ":",
    " as",
)


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with up to nine fractional digits, trailing zeros dropped, as Go writes it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{_second(seconds)}{fraction}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


@lru_cache(maxsize=8192)
def _usual(content: str) -> bytes:
    """The rest of a chat's usual record, spelled out and kept: it is written once a token."""
    return b'"message":{"role":"assistant","content":' + encode(content) + b'},"done":false}\n'


class Scribe:
    """Writes the records of one answer. `arrived` and `loaded_in` are nanoseconds for the numbers of the last record."""

    def __init__(self, request: NativeRequest, model: FakeModel, arrived: int, loaded_in: int = 0) -> None:
        self._request = request
        self._chat = request.endpoint == "/api/chat"
        self._arrived = arrived
        self._loaded_in = loaded_in
        self._model = encode(request.model)
        remote = {"remote_model": model.remote_model or model.name, "remote_host": model.remote_host}
        self._remote = encode(remote)[1:-1] + b"," if model.remote_host else b""
        self._first_record: int | None = None

    def _head(self) -> bytes:
        created = timestamp(time.time_ns()).encode()
        if self._chat:
            return b'{"model":' + self._model + b"," + self._remote + b'"created_at":"' + created + b'",'
        return b'{"model":' + self._model + b',"created_at":"' + created + b'",' + self._remote

    def piece(self, piece: Piece) -> bytes:
        """One record of a stream, with its LF."""
        if self._first_record is None:
            self._first_record = time.monotonic_ns()
        if self._chat and not piece.thinking and not piece.tool_calls and not self._request.logprobs:
            return self._head() + _usual(piece.content)
        record = self._said(piece.content, piece.thinking, piece.tool_calls) | {"done": False}
        if self._request.logprobs and not piece.tool_calls:
            record["logprobs"] = [_logprob(piece.content or piece.thinking, self._request.top_logprobs)]
        return self._head() + encode(record)[1:] + b"\n"

    def last(self, answer: Answer) -> bytes:
        """The record that ends a stream."""
        return self._final(answer, "", "", (), None) + b"\n"

    def whole(self, answer: Answer, *, done: bool = True) -> bytes:
        """The one record of an answer that is not streamed. Not `done` is how Ollama gives up on a model that repeats itself."""
        content = "".join(piece.content for piece in answer.pieces)
        thinking = "".join(piece.thinking for piece in answer.pieces)
        calls = tuple(call for piece in answer.pieces for call in piece.tool_calls)
        logprobs = None
        if self._request.logprobs:
            texts = (piece.content or piece.thinking for piece in answer.pieces if not piece.tool_calls)
            logprobs = [_logprob(text, self._request.top_logprobs) for text in texts]
        if not done:
            return self._head() + encode(self._said(content, thinking, calls) | {"done": False})[1:]
        return self._final(answer, content, thinking, calls, logprobs)

    def nothing(self, reason: str) -> bytes:
        """The answer to a call that only loads or unloads a model."""
        return self._head() + encode(self._said("", "", ()) | {"done": True, "done_reason": reason})[1:]

    def _said(self, content: str, thinking: str, calls: Sequence[Any]) -> dict[str, Any]:
        more = {name: item for name, item in (("thinking", thinking), ("tool_calls", calls)) if item}
        if self._chat:
            return {"message": {"role": "assistant", "content": content, **more}}
        return {"response": content, **more}

    def _final(self, answer: Answer, content: str, thinking: str, calls: Sequence[Any], logprobs: list[Any] | None) -> bytes:
        record: dict[str, Any] = self._said(content, thinking, calls)
        record["done"] = True
        if answer.done_reason:
            record["done_reason"] = answer.done_reason
        if self._chat and logprobs:
            record["logprobs"] = logprobs
        if not self._chat and not self._request.raw:
            record["context"] = _context(self._request, answer)
        record |= self._metrics(answer)
        if not self._chat and logprobs:
            record["logprobs"] = logprobs
        return self._head() + encode(record)[1:]

    def _metrics(self, answer: Answer) -> dict[str, int]:
        """Nanoseconds and counts; zeros are left out. What was not load and not generation counts as reading the prompt."""
        now = time.monotonic_ns()
        total = max(now - self._arrived, 4)
        load = self._loaded_in or min(_LOADED_ALREADY_NS, total // 4)
        generating = max(now - (self._first_record or now), total // 4)
        metrics = {
            "total_duration": total,
            "load_duration": load,
            "prompt_eval_count": answer.prompt_tokens,
            "prompt_eval_duration": max(total - load - generating, total // 4),
            "eval_count": answer.eval_tokens,
            "eval_duration": generating,
        }
        return {name: number for name, number in metrics.items() if number}


def embedded(model: str, vectors: Iterable[Sequence[float]], tokens: int, arrived: int, loaded_in: int) -> bytes:
    """The answer of `/api/embed`."""
    total = max(time.monotonic_ns() - arrived, 2)
    return encode({
        "model": model,
        "embeddings": list(vectors),
        "total_duration": total,
        "load_duration": loaded_in or min(_LOADED_ALREADY_NS, total // 2),
        "prompt_eval_count": tokens,
    })  # fmt: skip


def _logprob(text: str, top: int) -> dict[str, Any]:
    chance = -(1 + blake2b(text.encode("utf-8", "replace"), digest_size=2).digest()[0]) / 128
    entry = _token(text, chance)
    if top:
        others = [other for other in _ALTERNATIVES if other != text][: top - 1]
        entry["top_logprobs"] = [_token(text, chance), *(_token(o, chance - 0.25 * (n + 1)) for n, o in enumerate(others))]
    return entry


def _token(text: str, logprob: float) -> dict[str, Any]:
    entry: dict[str, Any] = {"token": text, "logprob": logprob}
    if text:
        entry["bytes"] = list(text.encode("utf-8", "replace"))
    return entry


def _context(request: NativeRequest, answer: Answer) -> list[int]:
    """Token ids of prompt and answer: made up, but as many as were counted and the same every time."""
    start = request.context or [1, 4093, 198]
    filler = [504 + index % 4096 for index in range(max(answer.prompt_tokens - len(start), 0))]
    return [*start, *filler, *(_token_id(piece.content or piece.thinking) for piece in answer.pieces)]


def _token_id(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=2).digest()) % 49152
