"""The chat dialect as a whole: what is sent, what is ignored, what is refused, whatever a body holds."""

import json
from typing import Any

import pytest
from chatting import ABLE, HELLO, STAMP, WEATHER, end, native, plan, records, refused
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.errors import GatewayError, InvalidJSON, InvalidRequest, UnsupportedValue
from tornado_gateway.wire.dialect import Limits, ModelFacts, Policy
from tornado_gateway.wire.openai_chat import DIALECT, IGNORED_FIELDS, KNOWN_FIELDS, ChatCall

PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def parse(**fields: Any) -> ChatCall:
    return DIALECT.parse(json.dumps({"model": "m", "messages": HELLO, **fields}).encode(), Limits())


@pytest.mark.parametrize("field", ["model", "messages"])
def test_a_field_that_must_be_there_is_named(field: str) -> None:
    assert refused(**{field: None}).param == field


def test_an_empty_model_is_named() -> None:
    assert refused(model="").param == "model"


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("presence_penalty", -2, 2),
        ("frequency_penalty", -2, 2),
        ("n", 1, 8),
    ],
)
def test_ranges_include_their_ends(name: str, low: float, high: float) -> None:
    plan(**{name: low})
    plan(**{name: high})

    assert refused(**{name: low - 1}).param == name
    assert refused(**{name: high + 1}).param == name


def test_bounds_of_the_configuration_are_kept() -> None:
    assert refused(messages=HELLO * 2049).param == "messages"
    assert refused(stop=["x"] * 17).param == "stop"
    assert refused(n=9).param == "n"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_bound_of_tokens_is_positive_and_0_is_not_given(name: str) -> None:
    assert refused(**{name: -1}).param == name
    assert "options" not in native(**{name: 0})
    assert plan(**{name: 0}).ignored == (name,)
    assert plan(**{name: 12}).calls[0].max_tokens == 12


def test_a_huge_bound_of_tokens_is_one_that_ollama_can_hold() -> None:
    assert native(max_tokens=10**30)["options"]["num_predict"] == 2**31 - 1


def test_fields_without_effect_are_named_in_the_order_of_the_request() -> None:
    body = b'{"zz":1,"store":false,"messages":[{"role":"user","content":"x"}],"stream_options":{},"max_tokens":0,"model":"m","aa":{},"audio":null}'

    ignored = DIALECT.parse(body, Limits()).plan(ModelFacts("m"), Policy()).ignored

    assert ignored == ("zz", "store", "stream_options", "max_tokens", "aa")


@pytest.mark.parametrize("field", sorted(IGNORED_FIELDS))
def test_a_field_of_openais_that_has_no_effect_is_named(field: str) -> None:
    assert plan(**{field: {"format": "wav"}}).ignored == (field,)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1},
        {"modalities": ["text"]},
        {"user": "u"},
        {"safety_identifier": "u"},
        {"parallel_tool_calls": True},
        {"logprobs": False},
    ],
)
def test_what_is_simply_true_changes_nothing_and_is_not_named(fields: dict[str, Any]) -> None:
    assert plan(**fields).calls == plan().calls
    assert plan(**fields).ignored == ()


def test_audio_as_an_answer_is_refused() -> None:
    error = refused(modalities=["text", "audio"])

    assert isinstance(error, UnsupportedValue)
    assert error.param == "modalities"


def test_obfuscation_is_named_as_ignored() -> None:
    assert plan(stream=True, stream_options={"include_obfuscation": True}).ignored == ("stream_options.include_obfuscation",)
    assert plan(stream=True, stream_options={"include_obfuscation": False}).ignored == ()


def test_the_user_is_for_the_log_and_never_for_ollama() -> None:
    assert parse(user="ada").user == "ada"
    assert parse(user="ada", safety_identifier="id").user == "id"
    assert parse().user is None
    assert "ada" not in str(native(user="ada", safety_identifier="ada"))


def test_equal_requests_have_equal_bytes_however_they_are_written() -> None:
    one = b'{"model":"m","temperature":1,"top_p":0.5,"messages":[{"role":"user","content":"\\u00e9"}],"user":"a"}'
    two = (
        '{"top_p":5e-1,"x":1,"messages":[{"content":[{"text":"é","type":"text"}],"role":"user"}],"model":"M","temperature":1.0}'
    )

    bodies = {DIALECT.parse(body, Limits()).plan(ModelFacts("m"), Policy()).calls[0].body for body in (one, two.encode())}

    assert len(bodies) == 1


def test_keys_stand_in_one_order_and_options_in_theirs() -> None:
    sent = native(
        top_logprobs=1,
        logprobs=True,
        think=True,
        response_format={"type": "json_object"},
        tools=[WEATHER],
        options={"top_k": 1},
        temperature=1,
        seed=2,
    )

    order = ["model", "messages", "tools", "format", "think", "options", "truncate", "logprobs", "top_logprobs"]
    assert list(sent) == order
    assert list(sent["options"]) == ["seed", "temperature", "top_k"]


def test_no_byte_of_a_key_that_is_not_known_reaches_ollama() -> None:
    body = b'{"model":"m","Model":"evil","mess\\u0061ges":[{"role":"user","content":"x","Role":"evil","shift":"evil"}],"shift":"evil","_debug_render_only":"evil"}'

    assert b"evil" not in DIALECT.parse(body, Limits()).plan(ModelFacts("m"), Policy()).calls[0].wire_body


def test_a_conversation_that_is_too_long_is_never_cut_in_silence() -> None:
    assert native()["truncate"] is False


def test_each_choice_has_another_seed() -> None:
    seeded, free = plan(n=3, seed=2**63 - 1).calls, plan(n=3).calls

    assert [call.request()["options"]["seed"] for call in seeded] == [2**63 - 1, -(2**63), -(2**63) + 1]
    assert [call.request().get("options", {}).get("seed") for call in free] == [None, 1, 2]
    assert free[0].body == plan().calls[0].body


@pytest.mark.parametrize(
    ("fields", "deterministic"),
    [({}, False), ({"seed": 1}, True), ({"seed": -1}, False), ({"temperature": 0}, True), ({"temperature": 1}, False)],
)
def test_a_call_is_deterministic_with_a_seed_or_temperature_0(fields: dict[str, Any], deterministic: bool) -> None:
    assert plan(**fields).calls[0].deterministic is deterministic


def test_choices_without_the_callers_seed_are_not_deterministic() -> None:
    assert [call.deterministic for call in plan(n=2).calls] == [False, False]


def test_the_estimate_of_the_prompt_follows_the_text_and_not_the_images() -> None:
    short, long = plan().calls[0], plan(messages=[{"role": "user", "content": "word " * 1000}]).calls[0]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K" + "A" * 80_000}}

    assert 1 <= short.prompt_tokens_estimate < 60
    assert 1000 < long.prompt_tokens_estimate < 1500
    assert plan(messages=[{"role": "user", "content": [image]}]).calls[0].prompt_tokens_estimate < 100


def test_the_models_own_stop_texts_are_kept_beside_the_callers() -> None:
    facts = ModelFacts("m", stop=("<|end|>", "a"))

    sent = parse(stop=["a", "b", ""]).plan(facts, Policy()).calls[0].request()
    silent = parse().plan(facts, Policy()).calls[0].request()

    assert sent["options"]["stop"] == ["a", "b", "<|end|>"]
    assert "options" not in silent


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, False),
        ({"temperature": 1, "n": 2, "logprobs": True}, False),
        ({"stop": "x"}, True),
        ({"stop": [""]}, False),
        ({"options": {"stop": ["x"]}}, True),
        ({"tools": [WEATHER]}, True),
        ({"tools": [WEATHER], "tool_choice": "none"}, False),
        ({"reasoning_effort": "low"}, True),
        ({"messages": [{"role": "user", "content": [PIXEL]}]}, True),
    ],
)
def test_facts_are_needed_where_the_model_decides(fields: dict[str, Any], needed: bool) -> None:
    assert parse(**fields).needs_facts is needed


def test_a_model_that_does_not_chat_is_refused() -> None:
    error = refused(capabilities=frozenset({"embedding"}))

    assert isinstance(error, UnsupportedValue)
    assert error.param == "model"


def test_what_is_not_known_of_a_model_is_asked_of_ollama() -> None:
    fields: dict[str, Any] = {"tools": [WEATHER], "think": True, "messages": [{"role": "user", "content": [PIXEL]}]}

    sent = plan(capabilities=None, **fields).calls[0].request()

    assert (len(sent["tools"]), sent["think"], len(sent["messages"][0]["images"])) == (1, True, 1)


def test_knobs_of_ollama_may_stand_beside_openais_fields() -> None:
    held = plan(top_k=5, min_p=0.1, num_ctx=9, options={"typical_p": 1, "mirostat": 2})

    assert held.calls[0].request()["options"] == {"min_p": 0.1, "top_k": 5, "typical_p": 1.0}
    assert held.ignored == ("num_ctx", "options.mirostat")


def test_a_history_that_is_nested_to_the_brim_is_refused_or_sent() -> None:
    deep = '{"a":' * 400 + "1" + "}" * 400
    call = {"id": "a", "function": {"name": "f", "arguments": deep}}

    assert plan(messages=[{"role": "assistant", "tool_calls": [call]}]).calls


# Any JSON

words = st.sampled_from(
    ["type", "function", "name", "parameters", "role", "content", "text", "url", "image_url", "$ref", "items", "effort"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)
parts = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio", "file", "refusal", "x"])},
    optional={"text": anything, "image_url": anything | st.just(PIXEL["image_url"]), "input_audio": anything, "file": anything},
)
turns = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system", "developer", "function", "x"])},
    optional={
        "content": st.text(max_size=5) | st.lists(parts, max_size=3) | anything,
        "tool_calls": anything,
        "name": anything,
    },
)
bodies = st.fixed_dictionaries(
    {"model": st.just("m") | anything, "messages": st.lists(turns, max_size=3) | anything},
    optional=dict.fromkeys(sorted(KNOWN_FIELDS - {"model", "messages"}), anything)
    | {"tools": st.just([WEATHER]) | anything, "unknown": anything},
)


@given(bodies, st.sampled_from([None, ABLE, frozenset({"completion"})]))
def test_any_json_is_a_call_or_a_refusal_that_names_its_field(body: dict[str, Any], able: frozenset[str] | None) -> None:
    try:
        made = DIALECT.parse(json.dumps(body).encode(), Limits()).plan(ModelFacts("m", "", able), Policy())
    except GatewayError as error:
        refusal = error
    else:
        encoder = made.encoder(STAMP)
        for call in made.calls:
            assert json.loads(call.wire_body)["model"] == "m"
            encoder.feed(call.index, records([end()]))
        assert encoder.finish()
        return
    assert isinstance(refusal, InvalidRequest)
    assert refusal.param or isinstance(refusal, InvalidJSON)
    assert refusal.message.endswith(".")
