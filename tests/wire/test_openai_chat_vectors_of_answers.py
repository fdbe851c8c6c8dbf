"""The test vectors of Ollama's wire sheet for chat answers, by number, and recordings of a real Ollama."""

import json
from pathlib import Path
from typing import Any

import pytest
from chatting import STAMP, c, called, choice, end, events, k, plan, records, stream, t, tool_call, whole

from tornado_gateway.errors import GatewayError

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"


TOP = [{"token": "Hello", "logprob": -0.5, "bytes": [72]}]
LOGPROBS = [{"token": "Hello", "logprob": -0.5, "bytes": [72], "top_logprobs": TOP}, {"token": "", "logprob": -1.0}]
WRITTEN_LOGPROBS = {
    "content": [
        {"token": "Hello", "logprob": -0.5, "bytes": [72], "top_logprobs": TOP},
        {"token": "", "logprob": -1.0, "bytes": None, "top_logprobs": []},
    ],
    "refusal": None,
}


def test_vector_58_text_counts_and_logprobs() -> None:
    answer = whole(end(prompt=5, answer=2, content="Hello there", logprobs=LOGPROBS), logprobs=True, top_logprobs=1)

    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    assert answer["choices"][0]["logprobs"] == WRITTEN_LOGPROBS


def test_vector_59_without_logprobs_the_field_is_null() -> None:
    only = choice(end(content="Hi"))

    assert only == {
        "index": 0,
        "message": {"role": "assistant", "content": "Hi", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }


def test_vectors_60_and_61_a_call_is_told_with_a_string_of_arguments() -> None:
    call = called("call_abc", "get_weather", city="Paris")

    stopped = choice(k(call), end("stop"))
    cut = choice(k(call), end("length"))

    assert stopped["message"]["content"] is None
    assert stopped["message"]["tool_calls"] == [tool_call("call_abc", "get_weather", '{"city":"Paris"}')]
    assert (stopped["finish_reason"], cut["finish_reason"]) == ("tool_calls", "length")


@pytest.mark.parametrize("reason", ["load", "unload", "", None, "something new"])
def test_vectors_62_80_and_81_reasons_that_openai_does_not_know_are_stop(reason: str | None) -> None:
    assert choice(end(reason))["finish_reason"] == "stop"
    assert stream(end(reason))[-2:] == [("finish", "stop"), "DONE"]


def test_vector_63_indexes_are_counted_anew_and_ids_kept() -> None:
    calls = (called("call_abc123", "a", 2), called("call_def456", "b", 7))

    deltas = stream(k(*calls), end())

    expected = [tool_call("call_abc123", "a", "{}", 0), tool_call("call_def456", "b", "{}", 1)]
    assert deltas[0] == {"role": "assistant", "content": None, "tool_calls": expected}


def test_vector_64_thoughts_that_were_cut_have_the_empty_text() -> None:
    only = choice(t("Let me", done=True, done_reason="length"))

    assert only["message"]["content"] == ""
    assert only["message"]["reasoning"] == only["message"]["reasoning_content"] == "Let me"
    assert only["finish_reason"] == "length"


def test_vectors_72_and_82_text_in_three_records_with_one_time() -> None:
    assert stream(c("Hello", created_at="2023-11-14T22:13:20Z"), c(" world"), end(content="!")) == [
        {"role": "assistant", "content": "Hello"},
        {"content": " world"},
        {"content": "!"},
        ("finish", "stop"),
        "DONE",
    ]


def test_vector_73_usage_comes_at_the_end() -> None:
    assert stream(c("Hi"), end("stop", 3, 1), usage=True) == [
        {"role": "assistant", "content": "Hi"},
        ("finish", "stop"),
        ("usage", 3, 1),
        "DONE",
    ]


def test_vectors_74_and_94_an_answer_without_text_still_has_a_role() -> None:
    expected = [{"role": "assistant", "content": ""}, ("finish", "stop"), "DONE"]

    assert stream(end("stop")) == expected
    assert stream(end("load")) == expected


def test_vector_75_thoughts_and_text_in_one_record_are_two_chunks() -> None:
    last = t("reasoning", "final answer", done=True, done_reason="stop", prompt_eval_count=3, eval_count=2)

    assert stream(last, usage=True) == [
        {"role": "assistant", "reasoning": "reasoning", "reasoning_content": "reasoning"},
        {"content": "final answer"},
        ("finish", "stop"),
        ("usage", 3, 2),
        "DONE",
    ]


def test_vector_76_thoughts_and_a_call_in_one_record_are_two_chunks() -> None:
    encoder = plan(stream=True).encoder(STAMP)

    told = [json.loads(event) for event in events(encoder.feed(0, records([k(called("a", "f"), thinking="Hm")])))]

    assert [list(chunk["choices"][0]["delta"]) for chunk in told] == [
        ["role", "reasoning", "reasoning_content"],
        ["tool_calls"],
    ]


def test_vector_77_a_call_in_the_last_record() -> None:
    last = k(called("call_abc", "f"), done=True, done_reason="stop")

    assert stream(last) == [
        {"role": "assistant", "content": None, "tool_calls": [tool_call("call_abc", "f", "{}", 0)]},
        ("finish", "tool_calls"),
        "DONE",
    ]


def test_vector_78_a_call_and_length() -> None:
    assert stream(k(called("a", "f")), end("length"))[-2] == ("finish", "length")


def test_vector_79_text_in_a_record_that_ends_by_length() -> None:
    assert stream(end("length", content="partial"))[:2] == [{"role": "assistant", "content": "partial"}, ("finish", "length")]


def test_vector_83_logprobs_alone_get_a_chunk_with_the_empty_text() -> None:
    assert stream(c("Hi"), end(logprobs=LOGPROBS), logprobs=True, top_logprobs=1) == [
        {"role": "assistant", "content": "Hi"},
        ({"content": ""}, WRITTEN_LOGPROBS),
        ("finish", "stop"),
        "DONE",
    ]


def test_vector_84_thoughts_have_chunks_without_a_content_key() -> None:
    assert stream(t("a"), t("b"), c("x"), end())[:3] == [
        {"role": "assistant", "reasoning": "a", "reasoning_content": "a"},
        {"reasoning": "b", "reasoning_content": "b"},
        {"content": "x"},
    ]


@pytest.mark.parametrize("second", [0, 1])
def test_vectors_85_and_104_calls_in_two_records_have_indexes_0_and_1(second: int) -> None:
    deltas = stream(k(called("a", "f", 0)), k(called("b", "g", second)), end())

    assert [delta["tool_calls"][0]["index"] for delta in deltas[:2]] == [0, 1]
    assert deltas[2] == ("finish", "tool_calls")


def test_vector_86_a_call_without_id_gets_one() -> None:
    calls = choice(k(called("", "f"), called("", "g")), end())["message"]["tool_calls"]

    idents = [call["id"] for call in calls]
    assert all(ident.startswith("call_") and len(ident) > 20 for ident in idents)
    assert len(set(idents)) == 2


def test_vector_87_text_and_a_call_in_the_last_record() -> None:
    assert stream(k(called("a", "f"), content="Let me", done=True, done_reason="stop")) == [
        {"role": "assistant", "content": "Let me"},
        {"tool_calls": [tool_call("a", "f", "{}", 0)]},
        ("finish", "tool_calls"),
        "DONE",
    ]


def test_vectors_88_90_and_100_a_failure_is_one_error_event() -> None:
    encoder = plan(stream=True).encoder(STAMP)
    encoder.feed(0, records([c("Hi")]))

    (event,) = events(encoder.fail(GatewayError("Ollama failed.")))

    assert json.loads(event) == {
        "error": {"message": "Ollama failed.", "type": "api_error", "param": None, "code": "internal_error"}
    }


@pytest.mark.parametrize(("number", "words"), [(91, "é😀"), (92, "a\x85b\u2028c"), (95, '{"a":1}'), (96, "x" * 3_000_000)])
def test_vectors_91_92_95_and_96_text_comes_through_unchanged(number: int, words: str) -> None:
    half = len(words) // 2

    deltas = stream(c(words[:half]), c(words[half:]), end())

    assert "".join(delta["content"] for delta in deltas[:-2]) == words


def replay(name: str, **fields: Any) -> list[Any]:
    recording = json.loads((TRANSCRIPTS / f"{name}.json").read_text())
    return stream(*(json.loads(line) for line in recording["response"]["chunks"]), **fields)


def test_vector_99_a_call_that_was_cut_is_an_empty_text_with_length() -> None:
    assert replay("chat-tool-call-length", usage=True) == [
        {"role": "assistant", "content": ""},
        ("finish", "length"),
        ("usage", 296, 12),
        "DONE",
    ]


def test_recorded_text_is_the_text_that_ollamas_own_layer_gives() -> None:
    deltas = replay("chat-stream-warm")

    assert deltas[0]["role"] == "assistant"
    assert deltas[-2:] == [("finish", "stop"), "DONE"]


def test_a_recorded_call_is_told_as_ollamas_own_layer_tells_it() -> None:
    deltas = replay("chat-tool-call-stream")

    (call,) = deltas[0]["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    assert deltas[1] == ("finish", "tool_calls")
