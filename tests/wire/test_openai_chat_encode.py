"""The shape of answers: whole and streamed alike, however records come together."""

import itertools
import json
from typing import Any

import pytest
from chatting import ABLE, STAMP, WEATHER, c, called, end, events, k, plan, records, t, whole
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tornado_gateway.errors import UpstreamClosed
from tornado_gateway.wire.dialect import Limits, ModelFacts, Policy
from tornado_gateway.wire.openai_chat import DIALECT

LOGPROB = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -1.5}]}


def test_a_whole_answer_has_openais_fields_in_openais_order() -> None:
    answer = whole(end(prompt=5, answer=2, content="Hello"))

    assert list(answer) == ["id", "object", "created", "model", "choices", "usage", "system_fingerprint"]
    assert answer == {
        "id": f"chatcmpl-{STAMP.id}",
        "object": "chat.completion",
        "created": STAMP.created,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        "system_fingerprint": "fp_" + "d" * 10,
    }
    ChatCompletion.model_validate(answer, strict=True)


def test_a_whole_answer_may_come_in_many_records() -> None:
    once = whole(end(prompt=5, answer=2, content="Hello"))

    assert whole(c("He"), c("llo"), end(prompt=5, answer=2)) == once


def fingerprint(digest: str) -> Any:
    call = DIALECT.parse(b'{"model":"m","messages":[{"role":"user","content":"x"}]}', Limits())
    encoder = call.plan(ModelFacts("m", digest), Policy()).encoder(STAMP)
    encoder.feed(0, records([end()]))
    return json.loads(encoder.finish())["system_fingerprint"]


def test_the_fingerprint_changes_with_the_digest() -> None:
    assert fingerprint("a" * 64) != fingerprint("b" * 64)
    assert fingerprint("sha256:" + "a" * 64) == fingerprint("a" * 64)
    assert fingerprint("") is None


def test_usage_of_several_choices_counts_the_prompt_once() -> None:
    encoder = plan(n=2).encoder(STAMP)
    encoder.feed(1, records([end("length", prompt=5, answer=3, content="B")]))
    encoder.feed(0, records([end(prompt=5, answer=2, content="A")]))

    answer = json.loads(encoder.finish())

    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    told = [(each["index"], each["message"]["content"], each["finish_reason"]) for each in answer["choices"]]
    assert told == [(0, "A", "stop"), (1, "B", "length")]


def test_choices_of_a_stream_are_mixed_with_their_indexes_and_usage_comes_last() -> None:
    encoder = plan(n=2, stream=True, stream_options={"include_usage": True}).encoder(STAMP)

    data = encoder.feed(1, records([c("B")])) + encoder.feed(0, records([c("A"), c("a")]))
    data += encoder.feed(0, records([end(prompt=5, answer=2)])) + encoder.feed(1, records([end(prompt=5, answer=3)]))
    *chunks, usage, done = events(data + encoder.finish())

    assert done == "[DONE]"
    assert json.loads(usage)["choices"] == []
    assert json.loads(usage)["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    told = [json.loads(chunk)["choices"][0] for chunk in chunks]
    assert [(each["index"], each["delta"].get("role"), each["delta"].get("content")) for each in told] == [
        (0, "assistant", None),
        (1, "assistant", None),
        (1, None, "B"),
        (0, None, "A"),
        (0, None, "a"),
        (0, None, None),
        (1, None, None),
    ]


def test_choices_of_a_stream_begin_in_order_whichever_speaks_first() -> None:
    """And with the role alone: openai-python misplaces a choice that comes early, and doubles the log probabilities beside a role."""
    encoder = plan(n=4, stream=True).encoder(STAMP)

    data = encoder.feed(2, records([c("C")])) + encoder.feed(1, records([c("B")])) + encoder.feed(3, records([c("D")]))

    told = [json.loads(chunk)["choices"][0] for chunk in events(data)]
    assert [(each["index"], each["delta"]) for each in told] == [
        (0, {"role": "assistant"}),
        (1, {"role": "assistant"}),
        (2, {"role": "assistant"}),
        (2, {"content": "C"}),
        (1, {"content": "B"}),
        (3, {"role": "assistant"}),
        (3, {"content": "D"}),
    ]


def test_a_function_call_is_told_whole_and_streamed() -> None:
    fields: dict[str, Any] = {"functions": [WEATHER["function"]]}
    lines = [k(called("a", "get_weather", city="Rome"), called("b", "get_weather")), end()]
    expected = {"name": "get_weather", "arguments": '{"city":"Rome"}'}

    message = whole(*lines, **fields)["choices"][0]
    encoder = plan(stream=True, **fields).encoder(STAMP)
    chunks = [json.loads(event)["choices"][0] for event in events(encoder.feed(0, records(lines)))]

    assert message["message"] == {"role": "assistant", "content": None, "function_call": expected, "refusal": None}
    assert message["finish_reason"] == "function_call"
    assert chunks[0]["delta"] == {"role": "assistant", "content": None, "function_call": expected}
    assert chunks[1]["finish_reason"] == "function_call"


def test_a_stream_that_fails_ends_with_an_error_event() -> None:
    encoder = plan(stream=True).encoder(STAMP)

    (event,) = events(encoder.fail(UpstreamClosed("Ollama closed the connection.")))

    assert set(json.loads(event)["error"]) == {"message", "type", "param", "code"}


def test_the_kinds_of_content_are_told() -> None:
    assert plan().encoder(STAMP).content_type == "application/json"
    assert plan(stream=True).encoder(STAMP).content_type.startswith("text/event-stream")


def test_text_that_looks_like_an_event_cannot_end_one() -> None:
    words = 'x\n\ndata: [DONE]\n\nevent: "\r\x00\u2028'
    encoder = plan(stream=True).encoder(STAMP)

    data = encoder.feed(0, records([c(words), c(words), end()]))

    assert [json.loads(event)["choices"][0]["delta"].get("content") for event in events(data)] == [words, words, None]


# Whatever records come, the stream that the SDK folds is the whole answer

texts = st.text(max_size=6)
ends = st.builds(
    lambda reason, words, prompt, answer: end(reason, prompt, answer, words),
    st.sampled_from(["stop", "length", "", "load", None]),
    texts,
    st.integers(0, 9),
    st.integers(0, 9),
)
function_calls = st.builds(
    lambda ident, name, city: called(ident, name, 0, city=city),
    st.sampled_from(["", "call_a", "call_b"]),
    st.sampled_from(["get_weather", "f"]),
    texts,
)
lines = st.lists(
    st.one_of(
        texts.map(c),
        texts.map(t),
        st.builds(t, texts, texts),
        st.builds(lambda a, b: k(*a, content=b), st.lists(function_calls, min_size=1, max_size=2), texts),
        st.builds(lambda words: c(words, logprobs=[LOGPROB]), texts),
        st.sampled_from(['{"name":"get_weather",', '"arguments":{}}', '{"name"', " "]).map(c),
    ),
    max_size=8,
)
requests: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"logprobs": True, "top_logprobs": 1},
        {"tools": [WEATHER]},
        {"tools": [WEATHER], "parallel_tool_calls": False},
        {"tools": [WEATHER], "tool_choice": "required"},
        {"tools": [WEATHER], "response_format": {"type": "json_object"}},
        {"functions": [WEATHER["function"]]},
    ]
)


@given(requests, lines, ends)
def test_a_stream_folded_by_the_sdk_is_the_whole_answer(fields: dict[str, Any], before: Any, last: Any) -> None:
    encoder = plan(stream=True, stream_options={"include_usage": True}, **fields).encoder(STAMP)
    data = encoder.feed(0, records([*before, last])) + encoder.finish()
    state: Any = ChatCompletionStreamState()
    for event in events(data)[:-1]:
        state.handle_chunk(ChatCompletionChunk.model_validate_json(event))

    folded = state.current_completion_snapshot.to_dict(mode="json")

    assert simplified(folded) == simplified(whole(*before, last, **fields))


def simplified(answer: dict[str, Any]) -> dict[str, Any]:
    """Without what the SDK adds or leaves out: nulls, indexes of calls, and `parsed`."""
    for choice in answer["choices"]:
        message = choice["message"]
        for call in message.get("tool_calls") or ():
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        choice["message"] = {name: value for name, value in message.items() if value is not None and name != "parsed"}
        choice["logprobs"] = choice.get("logprobs") and choice["logprobs"]["content"]
    return {**answer, "object": ""}


@given(requests, lines, ends, st.lists(st.integers(0, 9), max_size=4), st.booleans())
def test_events_are_the_same_however_records_come_together(
    fields: dict[str, Any], before: Any, last: Any, cuts: list[int], usage: bool
) -> None:
    made = plan(stream=True, stream_options={"include_usage": usage}, **fields)
    all_at_once, in_parts = made.encoder(STAMP), made.encoder(STAMP)
    read = records([*before, last])

    places = [0, *sorted(min(cut, len(read)) for cut in cuts), len(read)]
    batches = [read[low:high] for low, high in itertools.pairwise(places)]

    assert all_at_once.feed(0, read) == b"".join(in_parts.feed(0, batch) for batch in batches)


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_is_spelled_as_the_client_spelled_it(stream: bool) -> None:
    call = DIALECT.parse(
        b'{"model":"GPT-X","stream":%s,"messages":[{"role":"user","content":"x"}]}' % str(stream).lower().encode(), Limits()
    )
    encoder = call.plan(ModelFacts("llama3.2:latest", "", ABLE), Policy()).encoder(STAMP)

    assert b'"model":"GPT-X"' in encoder.feed(0, records([end()])) + encoder.finish()
