"""The rules about Ollama's texts: which field they name, and that none is shadowed by another."""

from __future__ import annotations

import pytest

from tornado_gateway.wire.ollama_sayings import RULES, Rule, Said


def decided_by(text: str) -> Rule | None:
    return next((rule for rule in RULES if rule.pattern.search(text)), None)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.example[:30])
def test_no_rule_is_shadowed_by_one_before_it(rule: Rule) -> None:
    assert decided_by(rule.example) is rule


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [("/api/chat", "messages"), ("/api/generate", "prompt"), ("/api/embed", "input"), ("/api/show", "messages")],
)
def test_the_field_that_holds_the_prompt_is_named_as_the_client_calls_it(endpoint: str, name: str) -> None:
    assert Said("", endpoint).input == name


@pytest.mark.parametrize(
    "text",
    [
        "error loading model: blob not found",
        "failed to create context: requested memory exceeds what is free",
        "maximum pending requests exceeded",
    ],
)
def test_a_text_about_memory_or_files_is_never_taken_for_a_long_prompt_or_an_unknown_model(text: str) -> None:
    rule = decided_by(text)

    assert rule is None or rule.answer(Said(text), rule.pattern.search(text)).status >= 500  # type: ignore[arg-type]  # it matched


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.example[:30])
def test_the_answer_to_a_callers_fault_names_a_field(rule: Rule) -> None:
    match = rule.pattern.search(rule.example)
    assert match

    error = rule.answer(Said(rule.example), match)

    assert error.status not in (400, 404) or error.param
