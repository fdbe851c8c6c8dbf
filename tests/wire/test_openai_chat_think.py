"""How thinking is asked for: never a failure on a model that cannot think; vectors 45 to 47 have the efforts."""

import json
from typing import Any

import pytest
from chatting import HELLO, native, plan, refused

from tornado_gateway.wire.dialect import Limits, ModelFacts, Policy
from tornado_gateway.wire.openai_chat import DIALECT


def think(facts: ModelFacts, policy: Policy | None = None, **fields: Any) -> Any:
    call = DIALECT.parse(json.dumps({"model": "m", "messages": HELLO, **fields}).encode(), Limits())
    return call.plan(facts, policy or Policy()).calls[0].request().get("think")


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, None),
        ({"think": True}, True),
        ({"think": "max"}, "max"),
        ({"think": False, "reasoning_effort": "low"}, "low"),
        ({"reasoning": {"enabled": False}}, False),
        ({"reasoning": {"enabled": True, "effort": "high"}}, "high"),
        ({"reasoning": {"effort": ""}, "reasoning_effort": "low"}, "low"),
        ({"reasoning": {}}, None),
    ],
)
def test_the_first_field_that_says_something_counts(fields: dict[str, Any], sent: Any) -> None:
    assert native(**fields).get("think") == sent


def test_a_field_that_another_overrules_is_named() -> None:
    assert plan(think=False, reasoning_effort="low").ignored == ("think",)


@pytest.mark.parametrize("field", ["reasoning_effort", "think"])
def test_a_word_that_is_no_effort_is_refused(field: str) -> None:
    assert refused(**{field: "very"}).param == field


def test_an_effort_inside_reasoning_is_named_with_its_path() -> None:
    assert refused(reasoning={"effort": "very"}).param == "reasoning.effort"


@pytest.mark.parametrize("fields", [{"reasoning_effort": "none"}, {"think": False}, {"reasoning": {"enabled": False}}])
def test_not_to_think_is_granted_by_a_model_that_cannot(fields: dict[str, Any]) -> None:
    granted = plan(capabilities=frozenset({"completion"}), **fields)

    assert "think" not in granted.calls[0].request()
    assert granted.ignored == ()


def test_a_model_that_always_thinks_is_asked_to_think_little() -> None:
    able = frozenset({"completion", "thinking"})

    assert think(ModelFacts("a", capabilities=able, families=("gptoss",)), reasoning_effort="none") == "low"
    assert think(ModelFacts("gpt-oss:20b", capabilities=able), reasoning_effort="none") == "low"
    assert think(ModelFacts("gpt-oss:20b", capabilities=able), reasoning_effort="high") == "high"


def test_the_operators_word_counts_where_the_caller_says_nothing() -> None:
    able = ModelFacts("a", capabilities=frozenset({"completion", "thinking"}))

    assert think(able, Policy(think=False)) is False
    assert think(able, Policy(think=False), reasoning_effort="high") == "high"
    assert think(ModelFacts("a", capabilities=frozenset({"completion"})), Policy(think=True)) is None
