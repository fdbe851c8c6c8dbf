"""Completions: what is sent to `/api/generate`, and what is refused. Vectors 7 and 55 among them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.errors import GatewayError, InvalidRequest, UnsupportedValue
from tornado_gateway.wire.dialect import Limits, ModelFacts, Plan, Policy
from tornado_gateway.wire.openai_completions import DIALECT

FACTS = ModelFacts("m:latest", "d1", frozenset({"completion", "insert"}))


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "prompt": "Hello", **fields}).encode()


def plan(*, facts: ModelFacts = FACTS, policy: Policy | None = None, limits: Limits | None = None, **fields: Any) -> Plan:
    return DIALECT.parse(body(**fields), limits or Limits()).plan(facts, policy or Policy())


def sent(**fields: Any) -> dict[str, Any]:
    return plan(**fields).calls[0].request()


def refused(*, facts: ModelFacts = FACTS, **fields: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        plan(facts=facts, **fields)
    return caught.value


def test_a_plain_prompt_is_sent_alone_and_templated_as_ollama_does_it() -> None:
    assert sent() == {"model": "m:latest", "prompt": "Hello", "truncate": False}


def test_vector_55_fields_become_options_and_a_suffix() -> None:
    assert sent(temperature=0.8, stop=["\n", "stop"], suffix="end") == {
        "model": "m:latest",
        "prompt": "Hello",
        "suffix": "end",
        "truncate": False,
        "options": {"stop": ["\n", "stop"], "temperature": 0.8},
    }


def test_all_sampling_fields_are_translated() -> None:
    options = sent(max_tokens=5, seed=3, top_p=0.5, frequency_penalty=1, presence_penalty=-1)["options"]

    assert options == {"frequency_penalty": 1.0, "num_predict": 5, "presence_penalty": -1.0, "seed": 3, "top_p": 0.5}


def test_every_field_that_is_null_is_not_given() -> None:
    names = [
        "suffix", "best_of", "echo", "logprobs", "max_tokens", "n", "stream", "stream_options", "user", "temperature", "top_p",
        "frequency_penalty", "presence_penalty", "seed", "stop", "logit_bias", "options", "keep_alive", "think", "format", "odd",
    ]  # fmt: skip

    nothing: dict[str, Any] = dict.fromkeys(names)

    made = plan(**nothing)

    assert made.calls[0].request() == {"model": "m:latest", "prompt": "Hello", "truncate": False}
    assert made.ignored == ()


def test_0_for_max_tokens_and_best_of_is_not_given_and_named() -> None:
    made = plan(max_tokens=0, best_of=0)

    assert made.ignored == ("max_tokens", "best_of")
    assert made.calls[0].max_tokens is None
    assert "options" not in made.calls[0].request()


def test_no_limit_of_tokens_is_set_that_nobody_asked_for() -> None:
    assert plan().calls[0].max_tokens is None
    assert plan(policy=Policy(options={"num_predict": 99})).calls[0].max_tokens == 99
    assert plan(max_tokens=7, policy=Policy(options={"num_predict": 99})).calls[0].max_tokens == 7


def test_each_prompt_and_each_choice_is_a_call_with_a_seed_of_its_own() -> None:
    calls = plan(prompt=["a", "b"], n=2, seed=5).calls

    asked = [(call.index, call.request()["prompt"], call.request()["options"]["seed"]) for call in calls]
    assert asked == [(0, "a", 5), (1, "a", 6), (2, "b", 5), (3, "b", 6)]


def test_choices_differ_though_no_seed_is_given() -> None:
    calls = plan(n=3).calls

    assert len({call.body for call in calls}) == 3
    assert not any(call.deterministic for call in calls)


def test_best_of_makes_more_than_it_gives_and_asks_how_likely_they_are() -> None:
    calls = plan(best_of=3).calls

    assert len(calls) == 3
    assert all(call.request()["logprobs"] is True for call in calls)


def test_best_of_that_equals_n_is_simply_n() -> None:
    calls = plan(best_of=2, n=2).calls

    assert len(calls) == 2
    assert "logprobs" not in calls[0].request()


@pytest.mark.parametrize(
    ("logprobs", "native"), [(0, {"logprobs": True}), (3, {"logprobs": True, "top_logprobs": 3}), (None, {})]
)
def test_logprobs_ask_for_those_of_the_tokens_and_for_so_many_alternatives(logprobs: Any, native: dict[str, Any]) -> None:
    request = sent(logprobs=logprobs)

    assert {name: value for name, value in request.items() if "logprobs" in name} == native


@pytest.mark.parametrize("prompt", [None, "", [], [""], ["a", ""]])
def test_an_empty_prompt_is_400_since_ollama_would_only_load_the_model(prompt: Any) -> None:
    error = refused(prompt=prompt)

    assert (type(error), error.param) == (InvalidRequest, "prompt")


@pytest.mark.parametrize("prompt", [[1, 2], [[1], [2]], [[]], ["a", 1]])
def test_token_ids_are_400_that_says_what_to_send_instead(prompt: Any) -> None:
    error = refused(prompt=prompt)

    assert (type(error), error.param) == (UnsupportedValue, "prompt")
    assert "send the text itself" in error.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": 1}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": ["a", None]}, "prompt[1]"),
        ({"prompt": [True]}, "prompt[0]"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 1}, "model"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"n": 1.5}, "n"),
        ({"best_of": 9}, "best_of"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"prompt": ["a"] * 9}, "prompt"),
        ({"prompt": ["a"] * 3, "n": 3}, "prompt"),
        ({"logprobs": -1}, "logprobs"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"stop": 5}, "stop"),
        ({"echo": "yes"}, "echo"),
        ({"suffix": 1}, "suffix"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}, "stream": True}, "stream_options.include_usage"),
        ({"temperature": 2.5}, "temperature"),
        ({"options": {"top_k": "x"}}, "options.top_k"),
    ],
)
def test_a_bad_field_is_400_that_names_it(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)

    assert (error.status, error.param) == (400, param)


def test_an_integer_may_be_written_with_an_empty_fraction() -> None:
    assert sent(max_tokens=10.0, n=1.0, best_of=1.0, logprobs=0.0)["options"] == {"num_predict": 10}


def test_an_empty_suffix_is_not_given() -> None:
    assert "suffix" not in plan(suffix="", facts=ModelFacts("m", capabilities=frozenset({"completion"}))).calls[0].request()


@pytest.mark.parametrize(("able", "param"), [({"completion"}, "suffix"), ({"embedding"}, "model")])
def test_what_the_model_cannot_do_is_400_before_anything_is_sent(able: set[str], param: str) -> None:
    error = refused(suffix="x", facts=ModelFacts("m", capabilities=frozenset(able)))

    assert (type(error), error.param) == (UnsupportedValue, param)


def test_a_model_whose_capabilities_are_unknown_is_asked() -> None:
    assert plan(suffix="x", facts=ModelFacts("m")).calls


def test_a_thinking_model_does_not_think_out_of_sight_unless_asked_to() -> None:
    thinks = ModelFacts("m", capabilities=frozenset({"completion", "thinking"}))

    assert plan(facts=thinks).calls[0].request()["think"] is False
    assert plan(facts=thinks, think="low").calls[0].request()["think"] == "low"
    assert plan(facts=thinks, policy=Policy(think=True)).calls[0].request()["think"] is True
    assert "think" not in sent(think=True)
    assert plan(think=True).ignored == ("think",)


def test_ollamas_own_knobs_are_translated_within_the_operators_policy() -> None:
    made = plan(options={"top_k": 4, "num_ctx": 9}, keep_alive="5m", format={"type": "object"}, policy=Policy(keep_alive="1h"))

    request = made.calls[0].request()
    assert (request["format"], request["keep_alive"], request["options"]) == ({"type": "object"}, "1h", {"top_k": 4})
    assert made.ignored == ("options.num_ctx", "keep_alive")


def test_fields_without_effect_are_named_in_the_requests_order() -> None:
    made = plan(zzz=1, logit_bias={"1": 2}, stream_options={"include_usage": True}, aaa=2)

    assert made.ignored == ("zzz", "logit_bias", "stream_options", "aaa")


def test_stream_options_have_effect_on_a_stream_but_for_obfuscation() -> None:
    made = plan(stream=True, stream_options={"include_usage": True, "include_obfuscation": True})

    assert made.ignored == ("stream_options.include_obfuscation",)


def test_equal_requests_have_equal_bytes_however_they_are_written() -> None:
    one = DIALECT.parse(b'{"model":"m","prompt":"x","top_p":1,"temperature":0,"seed":1.0}', Limits()).plan(FACTS, Policy())
    other = DIALECT.parse(b'{"seed":1,"temperature":0.0,"prompt":"x","stop":[],"model":"M","top_p":1.0}', Limits()).plan(
        FACTS, Policy()
    )

    assert one.calls[0].body == other.calls[0].body


def test_a_call_says_what_it_is() -> None:
    call = plan(stream=True, temperature=0, max_tokens=3, user="u").calls[0]

    assert (call.endpoint, call.model, call.digest, call.stream, call.index) == ("/api/generate", "m:latest", "d1", True, 0)
    assert (call.deterministic, call.max_tokens) == (True, 3)
    assert call.prompt_tokens_estimate > 0
    assert b'"u"' not in call.body


def test_the_user_is_for_the_log() -> None:
    assert DIALECT.parse(body(user="u"), Limits()).user == "u"
    assert DIALECT.parse(body(user="u", safety_identifier="s"), Limits()).user == "s"
    assert DIALECT.parse(body(), Limits()).user is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        "model",
        "prompt",
        "suffix",
        "n",
        "best_of",
        "logprobs",
        "stop",
        "stream",
        "stream_options",
        "options",
        "format",
        "think",
        "x",
    ]
)


@given(st.dictionaries(FIELDS, JSON | st.sampled_from(["m", 1, 2, True, ["a", "b"], {"num_ctx": 1}])) | JSON)
def test_any_json_becomes_calls_or_a_400_that_names_a_field(value: Any) -> None:
    assert outcome(json.dumps(value).encode())


def outcome(raw: bytes) -> Any:
    """The calls, or the field that the refusal names."""
    try:
        return DIALECT.parse(raw, Limits()).plan(FACTS, Policy()).calls
    except InvalidRequest as error:
        return error.param or error.code == "invalid_json"
