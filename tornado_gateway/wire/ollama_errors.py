"""Error answers of Ollama to errors for callers: reads the body, then asks the rules of `ollama_sayings`, then the status.

Pure. Ollama's own words go on only where they help the caller, and only scrubbed.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tornado_gateway.errors import GatewayError, InvalidRequest, UpstreamError, UpstreamInvalidResponse
from tornado_gateway.wire.ollama_sayings import RULES, Said, busy, failed, gone
from tornado_gateway.wire.scrub import scrubbed


def error_of(status: int, body: bytes, *, endpoint: str = "/api/chat") -> GatewayError:
    """The error for an answer of Ollama's whose status is not 200."""
    if not 400 <= status <= 599:
        return UpstreamInvalidResponse(f"Ollama answered with status {status}, which Ollama never does.")
    found = _decoded(body)
    text, details = _message(found)
    if text is None:
        return UpstreamInvalidResponse(f"What answers in Ollama's place with status {status} is not Ollama.")
    said = _said(text, details, endpoint)
    if isinstance(found, dict) and "signin_url" in found:
        return gone(said)
    return _by_rule(said) or _by_status(status, said)


def record_error(text: str, *, endpoint: str = "/api/chat") -> GatewayError:
    """The error for a line with `error` in an answer that has begun, so under status 200."""
    message, details = _message({"error": text})
    said = _said(message or "", details, endpoint)
    return _by_rule(said) or failed(said)


def _by_rule(said: Said) -> GatewayError | None:
    for rule in RULES:
        match = rule.pattern.search(said.text)
        if match:
            return rule.answer(said, match)
    return None


def _by_status(status: int, said: Said) -> GatewayError:
    if status == 429:
        return busy(said)
    # An embedding that fails inside the runner comes as 400 too: there the status does not blame the caller.
    if status in (400, 422) and said.endpoint != "/api/embed":
        return InvalidRequest(f"Ollama refuses this request: {scrubbed(said.text)}", param=said.input)
    if status in (401, 403):
        return UpstreamError("Ollama, or a proxy in front of it, does not let this gateway in.")
    return failed(said)


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _message(found: Any) -> tuple[str | None, dict[str, Any]]:
    """The innermost message of an error, and the object that it stands in: the runner's errors are JSON inside a string."""
    error = found.get("error") if isinstance(found, dict) else None
    if isinstance(error, str):
        start = error.find('{"error"')
        inner = _decoded(error[start:].encode(errors="replace")) if start >= 0 else None
        if isinstance(inner, dict) and isinstance(inner.get("error"), dict):
            return _message(inner)
        return error, {}
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return error["message"], error
    return None, {}


def _said(text: str, details: dict[str, Any], endpoint: str) -> Said:
    tokens, window = details.get("n_prompt_tokens"), details.get("n_ctx")
    if not (isinstance(tokens, int) and isinstance(window, int)):
        numbers = re.findall(r"\b(\d{1,9}) tokens?\b", text[:1000])
        tokens, window = map(int, numbers) if len(numbers) == 2 else (None, None)
    return Said(text, endpoint, tokens, window)
