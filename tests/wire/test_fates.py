"""The table of fates against what the dialects really do, and against the fields of the installed `openai` package."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, get_args, get_type_hints

import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import (
    ChatCompletionMessageParam,
    ChatCompletionStreamOptionsParam,
    chat_completion_content_part_param,
    chat_completion_content_part_refusal_param,
)
from openai.types.chat import (
    completion_create_params as chat_create_params,
)

from tornado_gateway.errors import InvalidRequest
from tornado_gateway.wire import fates, openai_chat, openai_completions, openai_embeddings
from tornado_gateway.wire.dialect import Dialect, Limits, ModelFacts, Plan, Policy
from tornado_gateway.wire.fates import Fate, Row

FACTS = ModelFacts("m", "d", frozenset({"completion", "tools", "thinking", "insert", "vision", "audio", "embedding"}))
POLICY = Policy(allow=frozenset({"num_ctx", "keep_alive"}))

FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
TALK = [{"role": "user", "content": "Hello"}]

DIALECTS: dict[str, tuple[Dialect, dict[str, Any], tuple[Row, ...]]] = {
    "chat": (openai_chat.DIALECT, {"model": "m", "messages": TALK}, fates.CHAT),
    "completions": (openai_completions.DIALECT, {"model": "m", "prompt": "Hello"}, fates.COMPLETIONS),
    "embeddings": (openai_embeddings.DIALECT, {"model": "m", "input": "Hello"}, fates.EMBEDDINGS),
}

SAMPLES: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "best_of": 2,
    "dimensions": 8,
    "echo": True,
    "encoding_format": "base64",
    "format": "json",
    "frequency_penalty": 0.5,
    "function_call": "auto",
    "functions": [FUNCTION],
    "input": "Bye",
    "keep_alive": "5m",
    "logit_bias": {"50256": -100},
    "max_completion_tokens": 5,
    "max_tokens": 5,
    "messages": [{"role": "user", "content": "Bye"}],
    "metadata": {"a": "b"},
    "min_p": 0.1,
    "modalities": ["text"],
    "model": "other",
    "moderation": {"model": "m"},
    "n": 2,
    "num_ctx": 4096,
    "options": {"top_k": 3},
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 0.5,
    "prompt": "Bye",
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "reasoning": {"effort": "low"},
    "reasoning_effort": "low",
    "repeat_last_n": 3,
    "repeat_penalty": 1.1,
    "response_format": {"type": "json_object"},
    "safety_identifier": "s",
    "seed": 7,
    "service_tier": "auto",
    "stop": "END",
    "store": True,
    "stream": True,
    "stream_options": {"include_usage": True},
    "suffix": "end",
    "temperature": 0.5,
    "think": "low",
    "tool_choice": "auto",
    "tools": [TOOL],
    "top_k": 3,
    "top_logprobs": 3,
    "top_p": 0.5,
    "truncate": True,
    "typical_p": 0.5,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {},
}

BESIDE: dict[str, dict[str, Any]] = {
    "function_call": {"functions": [FUNCTION]},
    "stream_options": {"stream": True},
    "tool_choice": {"tools": [TOOL]},
    "top_logprobs": {"logprobs": True},
}
"""What a field needs to mean anything."""


def sample(dialect: str, field: str) -> Any:
    if field == "logprobs":
        return True if dialect == "chat" else 1
    return SAMPLES[field]


def plan(dialect: str, fields: dict[str, Any]) -> Plan:
    speaker, base, _ = DIALECTS[dialect]
    return speaker.parse(json.dumps({**base, **fields}).encode(), Limits()).plan(FACTS, POLICY)


def fields_of(*params: Any) -> set[str]:
    return {name for each in params for name in get_type_hints(each)}


def names(rows: Iterable[Row], *, extra: bool | None = None) -> list[str]:
    return [row.field for row in rows if "." not in row.field and extra in (None, row.extra)]


def top_level(fate: Fate) -> list[Any]:
    return [
        pytest.param(dialect, row.field, id=f"{dialect}-{row.field}")
        for dialect, (_, _, rows) in DIALECTS.items()
        for row in rows
        if row.fate is fate and "." not in row.field
    ]


@pytest.mark.parametrize(
    ("rows", "params"),
    [
        (
            fates.CHAT,
            (chat_create_params.CompletionCreateParamsNonStreaming, chat_create_params.CompletionCreateParamsStreaming),
        ),
        (
            fates.COMPLETIONS,
            (
                completion_create_params.CompletionCreateParamsNonStreaming,
                completion_create_params.CompletionCreateParamsStreaming,
            ),
        ),
        (fates.EMBEDDINGS, (embedding_create_params.EmbeddingCreateParams,)),
        (fates.MESSAGES, get_args(ChatCompletionMessageParam)),
    ],
    ids=["chat", "completions", "embeddings", "messages"],
)
def test_every_field_of_the_openai_package_has_a_fate(rows: tuple[Row, ...], params: tuple[Any, ...]) -> None:
    assert set(names(rows, extra=False)) == fields_of(*params)


@pytest.mark.parametrize("rows", [fates.CHAT, fates.COMPLETIONS], ids=["chat", "completions"])
def test_every_stream_option_of_the_openai_package_has_a_fate(rows: tuple[Row, ...]) -> None:
    told = {row.field.partition(".")[2] for row in rows if row.field.startswith("stream_options.")}

    assert told == fields_of(ChatCompletionStreamOptionsParam)


def test_every_kind_of_part_of_the_openai_package_has_a_fate() -> None:
    parts = [
        *get_args(chat_completion_content_part_param.ChatCompletionContentPartParam),
        chat_completion_content_part_refusal_param.ChatCompletionContentPartRefusalParam,
    ]
    kinds = {get_args(get_type_hints(part)["type"])[0] for part in parts}

    assert set(names(fates.PARTS)) == kinds


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_field_has_two_fates(dialect: str) -> None:
    fields = [row.field for row in DIALECTS[dialect][2]]

    assert len(fields) == len(set(fields))


@pytest.mark.parametrize(
    ("dialect", "known"),
    [
        ("chat", openai_chat.KNOWN_FIELDS | openai_chat.IGNORED_FIELDS),
        ("completions", openai_completions.KNOWN_FIELDS | openai_completions.IGNORED_FIELDS),
        ("embeddings", openai_embeddings.KNOWN_FIELDS),
    ],
)
def test_every_field_that_a_dialect_reads_has_a_fate(dialect: str, known: frozenset[str]) -> None:
    assert set(names(DIALECTS[dialect][2])) == known


@pytest.mark.parametrize(("dialect", "field"), top_level(Fate.TRANSLATED))
def test_a_translated_field_changes_what_is_sent_and_is_not_named(dialect: str, field: str) -> None:
    beside = BESIDE.get(field, {})

    before, after = plan(dialect, beside), plan(dialect, {**beside, field: sample(dialect, field)})

    assert [call.wire_body for call in before.calls] != [call.wire_body for call in after.calls]
    assert after.ignored == before.ignored == ()


@pytest.mark.parametrize(("dialect", "field"), top_level(Fate.IGNORED))
def test_an_ignored_field_changes_nothing_and_is_named(dialect: str, field: str) -> None:
    before, after = plan(dialect, {}), plan(dialect, {field: sample(dialect, field)})

    assert [call.wire_body for call in before.calls] == [call.wire_body for call in after.calls]
    assert after.ignored == (field,)


@pytest.mark.parametrize(("dialect", "field"), top_level(Fate.GATEWAY))
def test_a_field_that_the_gateway_makes_true_is_taken_and_not_named(dialect: str, field: str) -> None:
    after = plan(dialect, {**BESIDE.get(field, {}), field: sample(dialect, field)})

    assert after.calls
    assert after.ignored == ()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_field_that_is_null_is_not_given(dialect: str) -> None:
    _, base, rows = DIALECTS[dialect]
    nothing: dict[str, Any] = {name: None for name in names(rows) if name not in base}

    made = plan(dialect, {**nothing, "of_tomorrow": None})

    assert made.ignored == ()
    assert [call.wire_body for call in made.calls] == [call.wire_body for call in plan(dialect, {}).calls]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_field_that_nobody_knows_is_ignored_and_named(dialect: str) -> None:
    assert plan(dialect, {"of_tomorrow": 1}).ignored == ("of_tomorrow",)


@pytest.mark.parametrize("dialect", ["chat", "completions"])
def test_stream_options_on_a_call_that_is_not_streamed_are_ignored_and_named(dialect: str) -> None:
    assert plan(dialect, {"stream_options": {"include_usage": True}}).ignored == ("stream_options",)


@pytest.mark.parametrize("dialect", ["chat", "completions"])
def test_obfuscation_is_ignored_and_named(dialect: str) -> None:
    options = {"include_usage": True, "include_obfuscation": True}

    assert plan(dialect, {"stream": True, "stream_options": options}).ignored == ("stream_options.include_obfuscation",)


@pytest.mark.parametrize(
    ("dialect", "field"),
    [("chat", "max_tokens"), ("chat", "max_completion_tokens"), ("completions", "max_tokens"), ("completions", "best_of")],
)
def test_0_means_not_given_and_is_named(dialect: str, field: str) -> None:
    made = plan(dialect, {field: 0})

    assert made.ignored == (field,)
    assert [call.wire_body for call in made.calls] == [call.wire_body for call in plan(dialect, {}).calls]


@pytest.mark.parametrize(
    ("dialect", "fields", "param"),
    [
        ("chat", {"modalities": ["text", "audio"]}, "modalities"),
        ("chat", {"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type"),
        (
            "chat",
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]}
                ]
            },
            "messages[0].content[0].image_url",
        ),
        (
            "chat",
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
            "messages[0].content[0].file.file_id",
        ),
        ("completions", {"prompt": [1, 2]}, "prompt"),
        ("completions", {"stream": True, "best_of": 2}, "best_of"),
        ("embeddings", {"input": [1, 2]}, "input"),
    ],
)
def test_what_is_refused_is_400_that_names_the_field(dialect: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        plan(dialect, fields)

    assert caught.value.param == param


def test_a_table_has_a_line_for_each_row() -> None:
    table = fates.markdown([Row("a", Fate.IGNORED, "x | y."), Row("b", Fate.TRANSLATED, "z.", extra=True)])

    assert table.splitlines()[2:] == [r"| `a` | ignored and named | x \| y. |", r"| `b` \* | translated | z. |"]
