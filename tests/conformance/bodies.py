"""Bodies for property tests: valid requests of every kind, then changed here and there into what no client should send."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
USER = {"role": "user", "content": "Hello"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "place": {"$ref": "#/$defs/place"},
        "unit": {"enum": ["c", "f"]},
        "near": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]}},
        "days": {"oneOf": [{"type": "integer", "minimum": 1}, {"const": "week"}]},
    },
    "required": ["place"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"name": {"type": "string", "minLength": 1}}, "required": ["name"]}},
}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": SCHEMA, "strict": True}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place": {"name": "Oslo"}}'}}

CHATS: list[dict[str, Any]] = [
    {"messages": [USER], "temperature": 0.5, "top_p": 0.9, "seed": 1, "stop": ["\n", "END"], "max_tokens": 5, "n": 2},
    {"messages": [{"role": "developer", "content": [{"type": "text", "text": "Be brief"}]}, USER], "stream": True,
     "stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 2, "user": "ada", "n": 2},
    {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]},
                  {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "Rain"}]}],
     "tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
    {"messages": [USER], "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}, "stream": True},
    {"messages": [USER], "tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {
        "mode": "auto", "tools": [{"type": "function", "function": {"name": "weather"}}]}}},
    {"messages": [USER], "functions": [TOOL["function"]], "function_call": {"name": "weather"}},
    {"messages": [USER], "response_format": {"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA}}},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {
        "url": PIXEL, "detail": "low"}}, {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]}]},
    {"messages": [USER], "reasoning_effort": "high", "reasoning": {"effort": "low"}, "options": {"num_ctx": 9, "top_k": 3},
     "keep_alive": "5m", "think": True, "format": "json", "logit_bias": {"1": 1}, "metadata": {"a": "b"}},
]  # fmt: skip
COMPLETIONS: list[dict[str, Any]] = [
    {"prompt": "Once", "echo": True, "logprobs": 2, "max_tokens": 3, "best_of": 2, "n": 1, "stop": "x"},
    {"prompt": ["a", "b"], "suffix": "c", "stream": True, "stream_options": {"include_usage": True}, "seed": 1, "n": 2},
]
EMBEDDINGS: list[dict[str, Any]] = [
    {"input": ["a", "b"], "dimensions": 3, "encoding_format": "float", "user": "ada"},
    {"input": "a", "encoding_format": "base64", "truncate": True, "options": {"num_ctx": 9}},
]
MODELS = ("llama3.2", "qwen3", "llava", "gemma3n", "qwen2.5-coder", "nomic-embed-text", "nope", "x:cloud")
BODIES = {"/v1/chat/completions": CHATS, "/v1/completions": COMPLETIONS, "/v1/embeddings": EMBEDDINGS}

ODD_VALUES = st.sampled_from(
    [
        None, True, False, 0, -1, 1, 1.0, 1.5, 3, 21, 2**31, 2**63, -(2**70), 1e308, "", " ", "x", "auto", "none", "json", "\0",
        "\ud800", "é" * 300, "https://example.com/a.png", PIXEL, "data:image/png;base64,%%%", '{"a": ', "[1]", [], {}, [[]], [1],
        ["a", 1], [None], {"type": "x"}, {"type": "object", "properties": True}, {"$ref": "#/$defs/nope"}, {"$ref": "#"}, TOOL, CALL,
        USER, SCHEMA, [USER] * 3, [TOOL, TOOL], {"": None}, {"name": ""}, float("nan"), float("inf"),
    ]
)  # fmt: skip
ODD = ODD_VALUES.map(copy.deepcopy)  # a value that is changed later must not be the one that is drawn again
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """An address and a body: a valid request, or one with up to three changes, now and then cut or with a byte changed."""
    path = draw(st.sampled_from(sorted(BODIES)))
    body: Any = {"model": draw(st.sampled_from(MODELS)), **copy.deepcopy(draw(st.sampled_from(BODIES[path])))}
    for _ in range(draw(st.integers(0, 3))):
        body = changed(draw, body)
    raw = json.dumps(body, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    match draw(st.integers(0, 20)):
        case 0:
            return path, raw[: draw(st.integers(0, len(raw)))]
        case 1:
            place = draw(st.integers(0, len(raw) - 1))
            return path, raw[:place] + draw(st.binary(max_size=3)) + raw[place + 1 :]
    return path, raw


def changed(draw: st.DrawFn, body: Any) -> Any:
    """The body with the value at one place replaced, left out, or given a name or a neighbour that it should not have."""
    place = draw(st.sampled_from(places(body)))
    if not place:
        return draw(ODD | JSON)
    holder = body
    for step in place[:-1]:
        holder = holder[step]
    match draw(st.sampled_from(["replace", "replace", "drop", "add"])):
        case "replace":
            holder[place[-1]] = draw(ODD | JSON)
        case "drop":
            del holder[place[-1]]
        case "add" if isinstance(holder, list):
            holder.insert(place[-1], draw(ODD | JSON))
        case _:
            holder[draw(st.sampled_from(FIELDS) | st.text(max_size=8))] = draw(ODD | JSON)
    return body


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a body, its own among them."""
    found = [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, each in inner:
        found += places(each, (*path, step))
    return found


FIELDS = sorted({name for bodies in BODIES.values() for body in bodies for name in body} | {
    "$ref", "allOf", "anyOf", "const", "content", "file", "format", "function_call", "items", "modalities", "name", "num_ctx",
    "parameters", "pattern", "properties", "refusal", "required", "role", "safety_identifier", "tool_calls", "type", "min_p",
})  # fmt: skip
