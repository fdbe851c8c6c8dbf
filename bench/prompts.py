"""What is asked, and the prepared bytes that are answered: shared by the simulated upstream and by the loads. Pure.

Each prompt carries a *plan*, `plan:TOKENS/BURST/PER_SECOND`: how many tokens the answer has (0: it goes on until the client leaves),
how many are written at once, and how many such writes a second there are (0: all in one write). So one upstream serves every load
through every gateway, however that gateway rewrites the rest of the request.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

MODEL = "llama3.2"
TOKEN = b'" token"'
"""How a streamed token reads in the bytes of every dialect; counting it counts tokens."""

_CREATED = "2026-01-01T00:00:00.123456789Z"
_PLAN = re.compile(rb"plan:(\d+)/(\d+)/([\d.]+)")
_NEAR_BYTES = 4096
_SYSTEM = "You are a helpful assistant. You answer in short and plain sentences, and you say so when you do not know."
_QUESTION = "What does a gateway in front of a language model do, and what should it never do? Number "


@dataclass(frozen=True, slots=True)
class Plan:
    tokens: int
    burst: int = 1
    per_second: float = 0.0

    def __str__(self) -> str:
        return f"plan:{self.tokens}/{self.burst}/{self.per_second:g}"


WHOLE = Plan(20)
"""What answers that are not streamed are made of."""


def plan_of(body: bytes | bytearray) -> Plan:
    """The plan in a request's body; it stands near one of its ends."""
    found = _PLAN.search(body, max(0, len(body) - _NEAR_BYTES)) or _PLAN.search(body, 0, _NEAR_BYTES)
    return Plan(int(found[1]), max(1, int(found[2])), float(found[3])) if found else WHOLE


def chat_body(plan: Plan, number: str, *, stream: bool, filler: str = "", image: str | None = None) -> bytes:
    """A chat request in OpenAI's form. `number` makes it different from all others; `filler` and `image` make it large."""
    text = f"{filler}{_QUESTION}{number}. {plan}"
    content: Any = text
    if image is not None:
        content = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
            {"type": "text", "text": text},
        ]
    body = {
        "model": MODEL,
        "messages": [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": content}],
        "temperature": 0.7,
        "stream": stream,
    }
    return _json(body)


@dataclass(frozen=True, slots=True)
class Dialect:
    """The prepared bytes of one way to answer: Ollama's own, or its OpenAI layer, which some gateways and `direct` use."""

    content_type: str
    record: bytes
    """One streamed token, as one transfer chunk."""
    last: bytes
    """What ends a stream, the closing chunk included."""

    @property
    def head(self) -> bytes:
        return _head(self.content_type, "Transfer-Encoding: chunked")


def native() -> Dialect:
    record = {"model": MODEL, "created_at": _CREATED, "message": {"role": "assistant", "content": " token"}, "done": False}
    return Dialect("application/x-ndjson", _chunk(_json(record) + b"\n"), _chunk(_native_end("") + b"\n") + _chunk(b""))


def openai() -> Dialect:
    delta = {"role": "assistant", "content": " token"}
    record = b"data: " + _json(_openai_chunk(delta, None)) + b"\n\n"
    end = b"data: " + _json(_openai_chunk({"role": "assistant", "content": ""}, "stop")) + b"\n\ndata: [DONE]\n\n"
    return Dialect("text/event-stream", _chunk(record), _chunk(end) + _chunk(b""))


def whole_native(tokens: int) -> bytes:
    """An answer that is not streamed, head and all, in Ollama's own form."""
    return answer(_native_end(" token" * tokens, tokens))


def whole_openai(tokens: int) -> bytes:
    message = {"role": "assistant", "content": " token" * tokens}
    usage = {"prompt_tokens": 46, "completion_tokens": tokens, "total_tokens": 46 + tokens}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    head = {"id": "chatcmpl-852", "object": "chat.completion", "created": 1767225600, "model": MODEL}
    return answer(_json({**head, "system_fingerprint": "fp_ollama", "choices": choices, "usage": usage}))


def answer(body: bytes, content_type: str = "application/json; charset=utf-8") -> bytes:
    return _head(content_type, f"Content-Length: {len(body)}") + body


def facts() -> dict[str, bytes]:
    """Ollama's answers to questions about itself and its model, by path."""
    details = {
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "3.2B",
        "quantization_level": "Q4_K_M",
    }
    capabilities = ["completion", "tools", "vision"]
    name = {"name": f"{MODEL}:latest", "model": f"{MODEL}:latest"}
    model = {**name, "modified_at": _CREATED, "size": 2019393189, "digest": "a80c4f17acd5" * 5 + "abcd", "details": details}
    info = {"general.architecture": "llama", "llama.context_length": 131072}
    show = {
        "template": "{{ .Prompt }}",
        "details": details,
        "model_info": info,
        "capabilities": capabilities,
        "modified_at": _CREATED,
    }
    bodies: dict[str, Any] = {
        "/api/tags": {"models": [{**model, "capabilities": capabilities}]},
        "/api/ps": {"models": [{**model, "expires_at": _CREATED, "size_vram": 0, "context_length": 4096}]},
        "/api/show": show,
        "/api/version": {"version": "0.12.0"},
        "/v1/models": {
            "object": "list",
            "data": [{"id": MODEL, "object": "model", "created": 1767225600, "owned_by": "library"}],
        },
    }
    return {path: answer(_json(body)) for path, body in bodies.items()}


def _native_end(text: str, tokens: int = 100) -> bytes:
    message = {"role": "assistant", "content": text}
    times = {"total_duration": 75781024, "load_duration": 1229213, "prompt_eval_count": 46, "prompt_eval_duration": 11854000}
    end = {"done": True, "done_reason": "stop", **times, "eval_count": tokens, "eval_duration": 58243000}
    return _json({"model": MODEL, "created_at": _CREATED, "message": message, **end})


def _openai_chunk(delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    head = {"id": "chatcmpl-852", "object": "chat.completion.chunk", "created": 1767225600, "model": MODEL}
    return {**head, "system_fingerprint": "fp_ollama", "choices": choices}


def _head(content_type: str, framing: str) -> bytes:
    date = "Date: Thu, 01 Jan 2026 00:00:00 GMT"
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{date}\r\n{framing}\r\n\r\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
