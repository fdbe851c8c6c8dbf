"""Who may set what of Ollama's options, in which type it is sent, and what is named as ignored."""

from __future__ import annotations

from typing import Any

import pytest

from tornado_gateway.errors import InvalidRequest
from tornado_gateway.wire.dialect import Limits, ModelFacts, Policy
from tornado_gateway.wire.options import (
    LOAD_TIME,
    Knobs,
    NativeOptions,
    native_keep_alive,
    native_options,
    native_stop,
    native_think,
    read_knobs,
)

FACTS = ModelFacts("m:latest")
PLAIN = Policy()


def options_of(knobs: Knobs, policy: Policy, facts: ModelFacts, *, num_predict: int | None = None) -> NativeOptions:
    return native_options(read_knobs(knobs, Limits()), policy, facts, num_predict=num_predict)


def refused(**fields: Any) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        read_knobs(Knobs(**fields), Limits())
    return caught.value.param


def test_nothing_given_sends_nothing() -> None:
    options = options_of(Knobs(), PLAIN, FACTS)

    assert (options.values, options.ignored, options.deterministic, options.max_tokens) == ({}, (), False, None)


def test_openai_fields_become_options_in_alphabetical_order_and_one_spelling() -> None:
    knobs = Knobs(temperature=1, top_p=1, frequency_penalty=0, presence_penalty=1, seed=7.0, stop=["b", "a", "b"])

    options = options_of(knobs, PLAIN, FACTS, num_predict=5)

    assert list(options.values.items()) == [
        ("frequency_penalty", 0.0),
        ("num_predict", 5),
        ("presence_penalty", 1.0),
        ("seed", 7),
        ("stop", ["b", "a"]),
        ("temperature", 1.0),
        ("top_p", 1.0),
    ]
    assert all(isinstance(options.values[name], float) for name in ("temperature", "top_p", "presence_penalty"))
    assert isinstance(options.values["seed"], int)


@pytest.mark.parametrize("name", sorted(LOAD_TIME))
def test_a_load_time_option_stays_the_operators_and_is_named(name: str) -> None:
    value = True if name == "use_mmap" else 8192
    operators = False if name == "use_mmap" else 4096

    options = options_of(Knobs(options={name: value}), Policy(options={name: operators}), FACTS)

    assert options.values == {name: operators}
    assert options.ignored == (f"options.{name}",)


def test_a_load_time_option_that_the_operator_allows_is_the_callers() -> None:
    policy = Policy(options={"num_ctx": 4096}, allow=frozenset({"num_ctx"}))

    options = options_of(Knobs(options={"num_ctx": 8192.0}), policy, FACTS)

    assert options.values == {"num_ctx": 8192}
    assert options.ignored == ()


def test_a_load_time_option_in_a_field_of_its_own_obeys_the_same_rule() -> None:
    allowing = Policy(allow=frozenset({"num_ctx"}))

    assert options_of(Knobs(num_ctx=8192.0, top_k=3), PLAIN, FACTS).values == {"top_k": 3}
    assert options_of(Knobs(num_ctx=8192, top_k=3), PLAIN, FACTS).ignored == ("num_ctx",)
    assert options_of(Knobs(num_ctx=8192), allowing, FACTS).values == {"num_ctx": 8192}


def test_other_options_of_the_caller_beat_the_operators() -> None:
    options = options_of(Knobs(options={"top_k": 3}), Policy(options={"top_k": 40, "min_p": 0.1}), FACTS)

    assert options.values == {"min_p": 0.1, "top_k": 3}


def test_a_name_that_ollama_does_not_know_is_not_sent_but_named() -> None:
    options = options_of(Knobs(options={"mirostat": 2, "Temperature": 1, "top_k": None}), PLAIN, FACTS)

    assert options.values == {}
    assert options.ignored == ("options.mirostat", "options.Temperature")


def test_an_openai_field_beats_the_same_option() -> None:
    knobs = Knobs(temperature=0, stop="x", options={"temperature": 1.5, "stop": ["y"], "num_predict": 9})

    options = options_of(knobs, PLAIN, FACTS, num_predict=3)

    assert options.values == {"num_predict": 3, "stop": ["x"], "temperature": 0.0}
    assert options.ignored == ("options.temperature", "options.stop", "options.num_predict")


@pytest.mark.parametrize("stop", [None, [], "", [""], ["", ""]])
def test_vectors_5_6_and_105_no_stop_text_leaves_the_models_own_alone(stop: Any) -> None:
    facts = ModelFacts("m", stop=("<|end|>",))

    assert options_of(Knobs(stop=stop), PLAIN, facts).values == {}


def test_stop_texts_repeat_the_models_own_since_ollama_replaces_them() -> None:
    facts = ModelFacts("m", stop=("<|end|>", "END"))

    assert native_stop("END", facts) == ["END", "<|end|>"]
    assert options_of(Knobs(options={"stop": "x"}), PLAIN, facts).values == {"stop": ["x", "<|end|>", "END"]}


@pytest.mark.parametrize(
    ("given", "allowed", "sent", "ignored"),
    [
        (None, False, "10m", ()),
        (5, False, "10m", ("keep_alive",)),
        ("5m", True, "5m", ()),
        (-1, True, -1, ()),
    ],
)
def test_keep_alive_is_the_operators_unless_he_allows_it(given: Any, allowed: bool, sent: Any, ignored: Any) -> None:
    policy = Policy(keep_alive="10m", allow=frozenset({"keep_alive"} if allowed else ()))

    assert native_keep_alive(given, policy) == (sent, ignored)


def test_think_is_never_sent_to_a_model_that_cannot_think() -> None:
    cannot = ModelFacts("m", capabilities=frozenset({"completion"}))
    can = ModelFacts("m", capabilities=frozenset({"completion", "thinking"}))

    assert native_think("high", Policy(think=True), cannot) is None
    assert native_think("high", Policy(think=True), can) == "high"
    assert native_think(None, Policy(think=False), can) is False
    assert native_think(False, Policy(think=True), FACTS) is False


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 6}, "top_p"),
        ({"frequency_penalty": 4}, "frequency_penalty"),
        ({"presence_penalty": -3}, "presence_penalty"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"top_k": 0.5}, "top_k"),
        ({"num_ctx": 1e30}, "num_ctx"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"options": {"stop": ["x"] * 17}}, "options.stop"),
        ({"options": {"stop": [1]}}, "options.stop"),
        ({"options": {"stop": 1}}, "options.stop"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"temperature": True}}, "options.temperature"),
        ({"options": {"num_ctx": "8k"}}, "options.num_ctx"),
        ({"options": {"num_ctx": 1.5}}, "options.num_ctx"),
        ({"options": {"num_ctx": True}}, "options.num_ctx"),
        ({"options": {"num_gpu": 10**30}}, "options.num_gpu"),
        ({"options": {"use_mmap": 1}}, "options.use_mmap"),
        ({"format": "xml"}, "format"),
        ({"think": "ultra"}, "think"),
        ({"keep_alive": "300"}, "keep_alive"),
        ({"keep_alive": "abc"}, "keep_alive"),
        ({"keep_alive": ""}, "keep_alive"),
        ({"keep_alive": 1e18}, "keep_alive"),
    ],
)
def test_a_value_that_no_model_takes_is_400_about_its_field(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields) == param


@pytest.mark.parametrize("value", [0, -1, 300, 0.5, "5m", "24h", "1h30m", "-1s", "0", "1.5h", "250ms"])
def test_every_spelling_of_keep_alive_that_ollama_takes_passes(value: Any) -> None:
    read_knobs(Knobs(keep_alive=value), Limits())


def test_a_call_is_deterministic_with_a_seed_or_at_temperature_0() -> None:
    assert options_of(Knobs(seed=0), PLAIN, FACTS).deterministic
    assert options_of(Knobs(temperature=0), PLAIN, FACTS).deterministic
    assert not options_of(Knobs(temperature=0.1), PLAIN, FACTS).deterministic


@pytest.mark.parametrize(("num_predict", "bound"), [(5, 5), (-1, None), (-2, None), (0, None)])
def test_only_a_positive_num_predict_is_a_bound(num_predict: int, bound: int | None) -> None:
    assert options_of(Knobs(options={"num_predict": num_predict}), PLAIN, FACTS).max_tokens == bound
