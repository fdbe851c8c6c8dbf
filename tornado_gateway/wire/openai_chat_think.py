"""How much a model should think: `reasoning_effort` and `reasoning` in Ollama's words, on models that can and that cannot."""

from __future__ import annotations

from dataclasses import dataclass

from tornado_gateway.errors import InvalidRequest
from tornado_gateway.wire.dialect import ModelFacts, Policy
from tornado_gateway.wire.openai_chat_fields import ChatRequest
from tornado_gateway.wire.options import native_think

_EFFORTS: dict[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
    "ultra": "max",
}
_ALWAYS_THINKING = ("gptoss", "gpt-oss")
"""Families that cannot be told not to think."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the caller wants, and in which field: the first of `reasoning`, `reasoning_effort`, `think` that says something."""

    value: bool | str | None = None
    field: str | None = None
    unused: tuple[str, ...] = ()


_NOTHING_ASKED = Asked()


def asked_thinking(request: ChatRequest) -> Asked:
    """Raises `InvalidRequest` for an effort that is none of OpenAI's."""
    reasoning = request.reasoning
    if reasoning is None and request.reasoning_effort is None and request.think is None:
        return _NOTHING_ASKED
    wishes: dict[str, bool | str | None] = {
        "reasoning": None,
        "reasoning_effort": _effort(request.reasoning_effort, "reasoning_effort"),
        "think": request.think,
    }
    if reasoning is not None:
        effort = _effort(reasoning.effort, "reasoning.effort")
        wishes["reasoning"] = reasoning.enabled if effort is None else effort
    said = [name for name, value in wishes.items() if value is not None]
    if not said:
        return _NOTHING_ASKED
    return Asked(wishes[said[0]], said[0], tuple(said[1:]))


def thinking(asked: Asked, policy: Policy, facts: ModelFacts) -> tuple[bool | str | None, tuple[str, ...]]:
    """What is sent as `think`, and the fields without effect."""
    think = native_think(asked.value, policy, facts)
    if think is False and any(family.startswith(_ALWAYS_THINKING) for family in (*facts.families, facts.name)):
        think = "low"
    # Not to think is what such a model does anyway: then the wish is granted, and nothing is ignored.
    dropped = asked.field is not None and think is None and asked.value is not False
    return think, (*((asked.field,) if dropped and asked.field else ()), *asked.unused)


def _effort(effort: str | None, param: str) -> bool | str | None:
    if not effort:
        return None
    if effort not in _EFFORTS:
        raise InvalidRequest(f"`{param}` must be one of {', '.join(_EFFORTS)}.", param=param)
    return _EFFORTS[effort]
