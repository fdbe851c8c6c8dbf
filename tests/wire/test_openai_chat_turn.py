"""What records say: thoughts, text, calls and an end; calls that a grammar made a model write as text."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from chatting import c, called, end, k, records, t

from tornado_gateway.wire.openai_chat_turn import Piece, Reading, Turn

FORCED = Reading(frozenset({"get_weather"}), forced=True)
EITHER = Reading(frozenset({"get_weather"}))
CALL = '{"name": "get_weather", "arguments": {"city": "Paris", "a": 1}}'


def read(reading: Reading, *lines: dict[str, Any]) -> list[Piece]:
    turn = Turn(reading, "call_x")
    return [turn.read(record) for record in records(lines)]


def text(pieces: Sequence[Piece]) -> str:
    return "".join(piece.content for piece in pieces)


def calls(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    return [(call.name, call.arguments) for piece in pieces for call in piece.calls]


def tokens(words: str, size: int = 3) -> list[dict[str, Any]]:
    return [c(words[i : i + size]) for i in range(0, len(words), size)]


def entry(word: str) -> dict[str, Any]:
    return {"token": word, "logprob": -0.5}


def words(pieces: Sequence[Piece]) -> list[list[str]]:
    return [[entry.token for entry in piece.logprobs] for piece in pieces]


THOUGHT = [t("Hm", logprobs=[entry("Hm")]), c("", logprobs=[entry("</think>"), entry("\n")])]
SPOKEN = [c("Yes", logprobs=[entry("Yes")]), c(".", logprobs=[entry(".")]), end(logprobs=[entry("")])]


def test_log_probabilities_are_those_of_the_text() -> None:
    whole = [line["logprobs"][0] for line in [*THOUGHT, *SPOKEN]]

    assert words(read(Reading(), *SPOKEN)) == [["Yes"], ["."], [""]]
    assert words(read(Reading(), *THOUGHT, *SPOKEN)) == [[], [], ["Yes"], ["."], [""]]
    assert words(read(Reading(), t("Hm", "Yes.", logprobs=whole))) == [["Yes", ".", ""]]
    assert words(read(Reading(), end(content="Yes.", logprobs=whole[-3:]))) == [["Yes", ".", ""]]


@pytest.mark.parametrize("lines", [tokens(CALL), [c(CALL)], []])
def test_what_a_grammar_made_the_model_write_has_no_log_probabilities(lines: list[dict[str, Any]]) -> None:
    parts = [{**line, "logprobs": [entry(line["message"]["content"])]} for line in lines] or [
        end(content=CALL, logprobs=[entry(CALL)])
    ]

    assert not any(words(read(FORCED, *parts, end())))
    assert words(read(EITHER, c("{", logprobs=[entry("{")]), c("} no", logprobs=[entry("} no")]), end()))[1] == ["{", "} no"]


@pytest.mark.parametrize("reading", [FORCED, EITHER])
@pytest.mark.parametrize("spelling", [CALL, f"\n{CALL}\n", CALL.replace(" ", ""), CALL.replace(" ", "\n  ")])
def test_a_call_that_is_written_as_text_is_a_call(reading: Reading, spelling: str) -> None:
    pieces = read(reading, *tokens(spelling), end())

    assert calls(pieces) == [("get_weather", '{"city":"Paris","a":1}')]
    assert text(pieces) == ""
    assert pieces[-1].finish == "tool_calls"


@pytest.mark.parametrize("spelling", [f"```json\n{CALL}\n```", CALL.replace("arguments", "parameters")])
def test_a_forced_call_may_have_a_fence_or_llamas_word_for_arguments(spelling: str) -> None:
    assert calls(read(FORCED, *tokens(spelling), end())) == [("get_weather", '{"city":"Paris","a":1}')]


def test_a_call_in_one_record_is_a_call() -> None:
    assert calls(read(FORCED, end(content=CALL))) == [("get_weather", '{"city":"Paris","a":1}')]


def test_real_calls_count_where_a_call_is_forced() -> None:
    pieces = read(FORCED, k(called("a", "get_weather", city="Rome")), end())

    assert calls(pieces) == [("get_weather", '{"city":"Rome"}')]
    assert pieces[-1].finish == "tool_calls"


def test_a_model_that_talks_where_a_call_is_forced_is_heard() -> None:
    pieces = read(FORCED, c("It is "), c("sunny."), end())

    assert text(pieces) == "It is sunny."
    assert pieces[-1].finish == "stop"


def test_a_forced_call_that_was_cut_is_not_told() -> None:
    pieces = read(FORCED, *tokens(CALL[:30]), end("length"))

    assert (text(pieces), calls(pieces), pieces[-1].finish) == ("", [], "length")


@pytest.mark.parametrize(
    "words", ["It is sunny.", '{"city": "Paris"}', '{"name": "Ada"}', '{"name": "get_weather"}', CALL + " x"]
)
def test_an_answer_that_is_no_call_is_text(words: str) -> None:
    pieces = read(EITHER, *tokens(words), end())

    assert (text(pieces), calls(pieces), pieces[-1].finish) == (words, [], "stop")


def test_an_answer_flows_as_soon_as_it_cannot_be_a_call() -> None:
    pieces = read(EITHER, c('{"'), c("na"), c('me": "A'), c("da"), end(content='"}'))

    assert [piece.content for piece in pieces] == ["", "", '{"name": "A', "da", '"}']


def test_thoughts_are_never_held_back() -> None:
    assert [piece.thinking for piece in read(FORCED, t("a"), t("b"), end(content=CALL))] == ["a", "b", ""]


def test_where_one_call_is_allowed_the_first_counts() -> None:
    pieces = read(Reading(one_call=True), k(called("a", "f"), called("b", "g")), k(called("c", "h")), end())

    assert calls(pieces) == [("f", "{}")]


def test_ids_are_unique_whatever_ollama_sends() -> None:
    pieces = read(Reading(), k(called("a", "f"), called("a", "g"), called("", "h")), k(called("", "i")), end())

    idents = [call.id for piece in pieces for call in piece.calls]
    assert idents[0] == "a"
    assert len(set(idents)) == 4


@pytest.mark.parametrize(
    ("reason", "with_call", "finish"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("length", False, "length"),
        ("length", True, "length"),
        ("load", False, "stop"),
        ("unload", False, "stop"),
        ("", True, "tool_calls"),
        (None, False, "stop"),
        ("news", False, "stop"),
    ],
)
def test_reasons(reason: str | None, with_call: bool, finish: str) -> None:
    lines = [k(called("a", "f"))] if with_call else []

    assert read(Reading(), *lines, end(reason))[-1].finish == finish


def test_functions_finish_as_functions() -> None:
    assert read(Reading(legacy=True), k(called("a", "f")), end())[-1].finish == "function_call"


def test_arguments_are_compact_json_in_their_order_without_escapes() -> None:
    call = {"function": {"name": "f", "arguments": {"z": "é", "a": [1, {"b": None}]}}}

    assert calls(read(Reading(), k(call), end())) == [("f", '{"z":"é","a":[1,{"b":null}]}')]


def test_arguments_that_are_missing_are_an_empty_object() -> None:
    assert calls(read(Reading(), k({"function": {"name": "f"}}), end())) == [("f", "{}")]


def test_a_text_of_another_function_is_no_call() -> None:
    other = json.dumps({"name": "other", "arguments": {}})

    assert text(read(EITHER, *tokens(other), end())) == other


@pytest.mark.parametrize(
    "words", [CALL, CALL.replace("arguments", "parameters"), f"```json\n{CALL}\n```", '{"arguments":{},"name":"get_weather"}']
)
def test_what_is_read_does_not_depend_on_how_it_came(words: str) -> None:
    ways = [
        read(EITHER, *tokens(words), end()),
        read(EITHER, c(words), end()),
        read(EITHER, {**end(), **c(words), "done": True}),
    ]

    assert len({(text(pieces), *calls(pieces)) for pieces in ways}) == 1
