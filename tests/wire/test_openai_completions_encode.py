"""Completions on their way back: whole and streamed, from the recordings of a real Ollama and by values. Vector 98 among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from tornado_gateway.errors import UpstreamClosed
from tornado_gateway.wire.dialect import Encoder, Limits, ModelFacts, Policy, Stamp
from tornado_gateway.wire.fold import fold
from tornado_gateway.wire.ollama import Logprob, Record, TokenLogprob, decode_record
from tornado_gateway.wire.openai_completions import DIALECT

RECORDINGS = Path(__file__).parents[1] / "transcripts"
STAMP = Stamp("0123456789abcdef0123456789abcdef", 1700000000)
FACTS = ModelFacts("m:latest", "sha256:0123456789abcdef")


def encoder(*, digest: str = FACTS.digest, **fields: Any) -> Encoder:
    body = json.dumps({"model": "m", "prompt": "Say", **fields}).encode()
    return DIALECT.parse(body, Limits()).plan(ModelFacts("m", digest), Policy()).encoder(STAMP)


def said(text: str = "", **fields: Any) -> Record:
    return Record(response=text, **fields)


def ended(reason: str | None = "stop", prompt: int = 3, made: int = 2, text: str = "", **fields: Any) -> Record:
    return Record(response=text, done=True, done_reason=reason, prompt_eval_count=prompt, eval_count=made, **fields)


def token(text: str, logprob: float, **tops: float) -> Logprob:
    return Logprob(text, logprob, top_logprobs=[TokenLogprob(name, value) for name, value in tops.items()] or None)


def events(data: bytes) -> list[Any]:
    frames = data.decode().split("\n\n")
    assert frames.pop() == ""
    assert all(frame.startswith("data: ") for frame in frames)
    return [frame[6:] if frame == "data: [DONE]" else json.loads(frame[6:]) for frame in frames]


def streamed(records: list[Record], **fields: Any) -> list[Any]:
    one = encoder(stream=True, **fields)
    return events(one.feed(0, records) + one.finish())


def whole(records: list[Record], **fields: Any) -> Any:
    one = encoder(**fields)
    assert one.feed(0, records) == b""
    return json.loads(one.finish())


def recorded(name: str) -> list[Record]:
    response = json.loads((RECORDINGS / f"{name}.json").read_text())["response"]
    lines = response["chunks"] or [response["body"]]
    return [decode_record(line.encode()) for line in lines]


def test_a_whole_answer_has_openais_fields_in_its_order() -> None:
    one = encoder()
    one.feed(0, [ended(text="Hi")])

    assert one.finish() == (
        b'{"id":"cmpl-0123456789abcdef0123456789abcdef","object":"text_completion","created":1700000000,"model":"m",'
        b'"system_fingerprint":"fp_0123456789","choices":[{"text":"Hi","index":0,"logprobs":null,"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
    )


def test_the_recorded_answer_is_what_ollamas_own_layer_makes_of_it() -> None:
    own = json.loads(json.loads((RECORDINGS / "v1-completions.json").read_text())["response"]["body"])

    answer = Completion.model_validate(whole(recorded("generate-once")), strict=True)

    assert answer.choices[0].text.startswith(own["choices"][0]["text"])
    assert answer.choices[0].finish_reason == own["choices"][0]["finish_reason"]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == own["usage"]["prompt_tokens"]


def test_vector_98_a_stream_has_null_usage_until_its_own_chunk() -> None:
    chunks = streamed([said("He"), ended(text="llo")], stream_options={"include_usage": True})

    assert [chunk["choices"] for chunk in chunks[:-1]] == [
        [{"text": "He", "index": 0, "logprobs": None, "finish_reason": None}],
        [{"text": "llo", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        [],
    ]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [
        None,
        None,
        {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    ]
    assert chunks[-1] == "[DONE]"


def test_a_stream_without_usage_has_no_usage_key() -> None:
    chunks = streamed([said("Hi"), ended()])

    assert not [chunk for chunk in chunks[:-1] if "usage" in chunk]
    assert len(chunks) == 3


def test_all_chunks_share_what_makes_the_answer_one() -> None:
    chunks = streamed([said("a"), said("b"), ended()], stream_options={"include_usage": True})[:-1]

    assert {(c["id"], c["object"], c["created"], c["model"], c["system_fingerprint"]) for c in chunks} == {
        (f"cmpl-{STAMP.id}", "text_completion", STAMP.created, "m", "fp_0123456789")
    }


def test_the_recorded_stream_is_the_text_of_ollamas_records() -> None:
    records = recorded("generate-stream")

    chunks = streamed(records)

    assert "".join(chunk["choices"][0]["text"] for chunk in chunks[:-1]) == "".join(record.response for record in records)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]][-1] == "length"


@pytest.mark.parametrize(
    ("native", "finish"),
    [("stop", "stop"), ("length", "length"), ("load", "stop"), ("unload", "stop"), ("", "stop"), (None, "stop")],
)
def test_vector_62_the_finish_reason_is_always_one_of_openais(native: str | None, finish: str) -> None:
    assert whole([ended(native)])["choices"][0]["finish_reason"] == finish
    assert streamed([ended(native)])[0]["choices"][0]["finish_reason"] == finish


def test_an_unknown_digest_gives_no_fingerprint() -> None:
    one = encoder(digest="")
    one.feed(0, [ended()])

    assert json.loads(one.finish())["system_fingerprint"] is None


def test_echo_puts_the_prompt_before_the_text() -> None:
    chunks = streamed([said("b"), ended()], echo=True)

    assert whole([said("b"), ended()], echo=True)["choices"][0]["text"] == "Sayb"
    assert [chunk["choices"][0]["text"] for chunk in chunks[:-1]] == ["Say", "b", ""]


def test_thoughts_have_no_place_in_a_completion() -> None:
    records = [said(thinking="hm", logprobs=[token("hm", -1.0)]), said("a", logprobs=[token("a", -0.5)]), ended()]

    folded = fold(records)
    assert folded
    for answer in (whole(records, logprobs=0), whole([folded], logprobs=0)):
        assert answer["choices"][0]["text"] == "a"
        assert answer["choices"][0]["logprobs"]["tokens"] == ["a"]
    assert [chunk["choices"][0]["text"] for chunk in streamed(records)[:-1]] == ["a", ""]


def test_logprobs_come_in_the_older_shape() -> None:
    records = [
        said("Hé", logprobs=[token("Hé", -0.25, Hé=-0.25, Ho=-2.0)]),
        said("!", logprobs=[token("!", -3.0, a=-0.5)]),
        ended(logprobs=[token("", -0.1)]),
    ]

    logprobs = whole(records, logprobs=2)["choices"][0]["logprobs"]

    assert logprobs == {
        "tokens": ["Hé", "!"],
        "token_logprobs": [-0.25, -3.0],
        "top_logprobs": [{"Hé": -0.25, "Ho": -2.0}, {"a": -0.5, "!": -3.0}],
        "text_offset": [0, 2],
    }


def test_streamed_logprobs_continue_their_offsets_behind_the_echo() -> None:
    records = [said("Hi", logprobs=[token("Hi", -1.0)]), said("", logprobs=[token(" ", -1.0)]), ended(text="x")]

    chunks = streamed(records, logprobs=0, echo=True)[:-1]

    logprobs = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert [each and each["text_offset"] for each in logprobs] == [None, [3], [5]]
    assert logprobs[1]["top_logprobs"] == [{"Hi": -1.0}]


def test_logprobs_that_nobody_asked_for_are_not_shown() -> None:
    assert whole([said("a", logprobs=[token("a", -1.0)]), ended()])["choices"][0]["logprobs"] is None


def test_choices_of_several_prompts_are_numbered_prompt_by_prompt() -> None:
    one = encoder(prompt=["a", "b"], n=2, echo=True)
    for index in (3, 0, 2, 1):
        one.feed(index, [ended(text=str(index), prompt=10 + index // 2, made=1)])

    answer = json.loads(one.finish())

    assert [(c["index"], c["text"]) for c in answer["choices"]] == [(0, "a0"), (1, "a1"), (2, "b2"), (3, "b3")]
    assert answer["usage"] == {"prompt_tokens": 21, "completion_tokens": 4, "total_tokens": 25}


def test_streamed_choices_may_come_in_any_mixture() -> None:
    one = encoder(stream=True, n=2)

    chunks = events(one.feed(1, [said("x")]) + one.feed(0, [said("y"), ended()]) + one.feed(1, [ended()]) + one.finish())

    shown = [(c["choices"][0]["index"], c["choices"][0]["text"], c["choices"][0]["finish_reason"]) for c in chunks[:-1]]
    assert shown == [(1, "x", None), (0, "y", None), (0, "", "stop"), (1, "", "stop")]


def test_best_of_gives_the_likeliest_and_counts_all_that_was_made() -> None:
    one = encoder(best_of=3)
    one.feed(0, [ended(text="worst", logprobs=[token("worst", -9.0)])])
    one.feed(1, [ended(text="best", logprobs=[token("be", -0.5), token("st", -0.5)])])
    one.feed(2, [ended(text="none")])

    answer = json.loads(one.finish())

    assert [(c["index"], c["text"], c["logprobs"]) for c in answer["choices"]] == [(0, "best", None)]
    assert answer["usage"]["completion_tokens"] == 6


def test_a_stream_that_fails_says_so_and_has_no_end() -> None:
    error = UpstreamClosed("Ollama closed the connection.")

    assert events(encoder(stream=True).fail(error)) == [{"error": error.body()}]


TEXTS = st.lists(st.text(max_size=8), max_size=6)


@given(TEXTS, st.booleans(), st.sampled_from([None, 0, 2]), st.integers(0, 6))
def test_a_stream_folded_is_the_whole_answer(texts: list[str], echo: bool, logprobs: int | None, cut: int) -> None:
    records = [said(text, logprobs=[token(text, -1.0, x=-2.0)]) for text in texts] + [ended()]
    fields: dict[str, Any] = {"echo": echo, "logprobs": logprobs}
    one = encoder(stream=True, **fields)

    chunks = events(one.feed(0, records[:cut]) + one.feed(0, records[cut:]) + one.finish())[:-1]

    folded = fold(records)
    assert folded
    choice = whole([folded], **fields)["choices"][0]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == choice["text"]
    assert chunks[-1]["choices"][0]["finish_reason"] == choice["finish_reason"]
    if logprobs is not None:
        parts = [chunk["choices"][0]["logprobs"] for chunk in chunks if chunk["choices"][0]["logprobs"]]
        for name in ("tokens", "token_logprobs", "text_offset"):
            assert [value for part in parts for value in part[name]] == choice["logprobs"][name]
