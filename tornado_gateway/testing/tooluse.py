"""Which tools a model would call: those that the last message plausibly asks for, with arguments in the tool's shape."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from tornado_gateway.testing import shapes, tokens
from tornado_gateway.testing.gojson import encode
from tornado_gateway.testing.refusals import Refusal

_WORD = re.compile(r"[^\W_]+")
_DULL = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "by",
        "call",
        "do",
        "for",
        "from",
        "function",
        "get",
        "give",
        "how",
        "i",
        "in",
        "is",
        "it",
        "me",
        "of",
        "on",
        "or",
        "please",
        "set",
        "tell",
        "that",
        "the",
        "this",
        "to",
        "tool",
        "use",
        "using",
        "what",
        "whats",
        "when",
        "where",
        "which",
        "who",
        "will",
        "with",
        "you",
        "your",
    ]
)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_MAX_CALLS = 8


def wanted(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Calls as name and arguments; none after a tool's result, or when no tool has to do with the message."""
    if messages[-1]["role"] != "user":
        return []
    text = messages[-1]["content"]
    said = _stems(text)
    functions = [tool.get("function") or {} for tool in tools]
    scored = [
        (len(said & _stems(function.get("name") or "", function.get("description") or "")), function) for function in functions
    ]
    best = max((score for score, _ in scored), default=0)
    if not best:
        return []
    chosen = [function for score, function in scored if score == best][:1]
    named = [function for function in functions if (function.get("name") or "\0") in text]
    return [call for function in named or chosen for call in _with_arguments(function, text)][:_MAX_CALLS]


def _stems(*texts: str) -> set[str]:
    """Words in small letters, cut to five, so that `cities` meets `city` no more often than by chance."""
    return {word[:5] for text in texts for word in map(str.lower, _WORD.findall(text)) if word not in _DULL and len(word) > 1}


def _with_arguments(function: Mapping[str, Any], text: str) -> list[dict[str, Any]]:
    """One call, or one for each place that the message names."""
    parameters = function.get("parameters") or {}
    places = shapes.places(text) if shapes.takes_place(parameters) else []
    return [
        {"name": function.get("name") or "", "arguments": _arguments(parameters, place or text)} for place in (places or [""])
    ]


def _arguments(parameters: Mapping[str, Any], text: str) -> dict[str, Any]:
    """In the tool's shape where that can be read: for a template a schema is only text, so that none is refused."""
    try:
        arguments = shapes.value({"type": "object", **parameters}, text, only_required=True)
    except Refusal:
        return {}
    return arguments if isinstance(arguments, dict) else {}


def numbered(call: Mapping[str, Any], index: int, key: str) -> dict[str, Any]:
    """The call as Ollama writes it. An `id` or `index` that is given stands; an `id` of None is left out, as older builds do."""
    made = {"id": call["id"]} if call.get("id") else {} if "id" in call else {"id": call_id(key, index)}
    function = call.get("function", call)
    arguments = function.get("arguments", {})
    return {**made, "function": {"index": function.get("index", index), "name": function["name"], "arguments": arguments}}


def call_id(key: str, index: int) -> str:
    digest = blake2b(f"{key}|{index}".encode(), digest_size=8).digest()
    return "call_" + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest)


def cost(call: Mapping[str, Any]) -> int:
    """Tokens of the call's name and arguments."""
    function = call["function"]
    return tokens.count(function["name"]) + tokens.count(encode(function["arguments"]).decode())
