"""A native request read as Ollama reads it: which values pass, and the exact words for those that do not.

The order of the checks is Ollama's, since the first fault decides the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tornado_gateway.testing import gojson, tooltypes, values
from tornado_gateway.testing.refusals import Refusal

Endpoint = Literal["/api/chat", "/api/generate", "/api/embed"]

_SHARED = {"model": "string", "keep_alive": "keep_alive", "options": "map[string]interface {}", "truncate": "bool"}
_ANSWERED = {
    "stream": "bool", "format": "any", "think": "think", "shift": "bool", "logprobs": "bool", "top_logprobs": "int",
}  # fmt: skip
_CHAT = {**_SHARED, **_ANSWERED, "messages": "[]api.Message", "tools": "api.Tools"}
_GENERATE = {
    **_SHARED, **_ANSWERED, "prompt": "string", "suffix": "string", "system": "string", "template": "string",
    "context": "[]int", "raw": "bool", "images": "images",
}  # fmt: skip
_EMBED = {**_SHARED, "input": "any", "dimensions": "int"}
_STRUCTS: dict[str, tuple[str, dict[str, str], frozenset[str]]] = {
    "/api/chat": ("ChatRequest", _CHAT, frozenset(_CHAT)),
    "/api/generate": ("GenerateRequest", _GENERATE, frozenset(_GENERATE)),
    "/api/embed": ("EmbedRequest", _EMBED, frozenset(_EMBED)),
}
_MESSAGE = {
    "role": "string", "content": "string", "thinking": "string", "images": "images", "tool_calls": "[]api.ToolCall",
    "tool_name": "string", "tool_call_id": "string",
}  # fmt: skip
_MESSAGE_NAMES = frozenset(_MESSAGE)
_FITS: dict[str, type | tuple[type, ...]] = {"string": str, "bool": bool, "map[string]interface {}": dict}


@dataclass(slots=True)
class NativeRequest:
    """What Ollama took from the body."""

    endpoint: Endpoint
    model: str
    """As sent: answers echo it."""
    stream: bool = False
    messages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    prompt: str = ""
    suffix: str = ""
    system: str = ""
    raw: bool = False
    template: str = ""
    context: list[int] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    dimensions: int = 0
    format: Any = None
    think: bool | str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    keep_alive: float | None = None
    """Seconds; negative means for ever, None what the server is set to."""
    truncate: bool = True
    shift: bool = True
    logprobs: bool = False
    top_logprobs: int = 0

    @property
    def asks_nothing(self) -> bool:
        """No messages, no prompt: the call only loads or unloads the model."""
        return not self.messages if self.endpoint == "/api/chat" else not self.prompt

    @property
    def last_text(self) -> str:
        """What was said last: to match on, and to talk about."""
        if self.endpoint == "/api/generate":
            return self.prompt
        if self.endpoint == "/api/embed":
            return "\n".join(self.inputs)
        return next((m["content"] for m in reversed(self.messages) if m["role"] == "user"), "")


def read_object(raw: bytes, go_name: str) -> dict[str, Any]:
    """The body's JSON object; null is an empty one. Raises `Refusal` (400)."""
    if not raw.strip():
        raise Refusal(400, "missing request body")
    try:
        value = gojson.decode(raw)
    except gojson.NotJSON as error:
        raise Refusal(400, str(error)) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(400, f"json: cannot unmarshal {gojson.kind(value)} into Go value of type api.{go_name}")
    return value


def read(endpoint: Endpoint, raw: bytes) -> NativeRequest:
    """Read one request. Raises `Refusal` for what Ollama's decoder refuses; names and models are not looked at."""
    go_name, types, names = _STRUCTS[endpoint]
    fields = gojson.folded(read_object(raw, go_name), names)
    for name, value in fields.items():
        fields[name] = _checked(value, types[name], f"{go_name}.{name}")
    if endpoint == "/api/embed":
        fields["inputs"] = _inputs(fields.pop("input", None))
    else:
        fields.setdefault("stream", True)
    if not 0 <= fields.get("top_logprobs", 0) <= 20:
        raise Refusal(400, "top_logprobs must be between 0 and 20")
    fields.setdefault("model", "")
    return NativeRequest(endpoint, **fields)


def read_show(raw: bytes) -> str:
    """The model that `/api/show` is asked for; `name` works for `model`. Raises `Refusal`."""
    fields = gojson.folded(read_object(raw, "ShowRequest"), frozenset({"model", "name"}))
    for name, value in fields.items():
        _checked(value, "string", f"ShowRequest.{name}")
    model: str = fields.get("model") or fields.get("name") or ""
    if not model:
        raise Refusal(400, "model is required")
    return model


def _checked(value: Any, go_type: str, path: str) -> Any:
    """The value as its field takes it. Raises `Refusal` with the decoder's words."""
    special = _SPECIAL.get(go_type)
    if special is not None:
        return special(value, path)
    if go_type in _FITS:
        if not isinstance(value, _FITS[go_type]):
            raise Refusal(400, gojson.misfit(value, path, go_type))
    elif go_type == "int" and type(value) is not int:
        raise Refusal(400, gojson.misfit(value, path, go_type))
    return value


def _messages(value: Any, path: str) -> list[dict[str, Any]]:
    return [_message(item, path) for item in values.array(value, path, "[]api.Message")]


def _message(value: Any, path: str) -> dict[str, Any]:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise Refusal(400, gojson.misfit(value, path, "api.Message"))
    message = gojson.folded(value, _MESSAGE_NAMES)
    for name, item in message.items():
        message[name] = _checked(item, _MESSAGE[name], f"{path}.{name}")
    message["role"] = message.get("role", "").lower()
    message.setdefault("content", "")
    return message


def _inputs(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    inputs = [value] if isinstance(value, str) else value
    if not isinstance(inputs, list) or not all(isinstance(item, str) for item in inputs):
        raise Refusal(400, "invalid input type")
    return inputs


_SPECIAL: Mapping[str, Any] = {
    "[]api.Message": _messages,
    "[]api.ToolCall": tooltypes.tool_calls,
    "[]int": values.integers,
    "any": lambda value, _: value,
    "api.Tools": tooltypes.tools,
    "images": values.images,
    "keep_alive": values.keep_alive,
    "think": values.think,
}
