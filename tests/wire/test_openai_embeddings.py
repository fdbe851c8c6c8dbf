"""Embeddings: vectors 56, 57, 71 and 106, the recordings of a real Ollama, and what is refused."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from tornado_gateway.errors import GatewayError, InvalidRequest, UnsupportedValue, UpstreamInvalidResponse
from tornado_gateway.wire.dialect import Limits, ModelFacts, Plan, Policy, Stamp
from tornado_gateway.wire.ollama import Record, decode_record
from tornado_gateway.wire.openai_embeddings import DIALECT

RECORDINGS = Path(__file__).parents[1] / "transcripts"
FACTS = ModelFacts("all-minilm:l6", "d1", frozenset({"embedding"}))
STAMP = Stamp("a" * 32, 1700000000)


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "input": "Hello", **fields}).encode()


def plan(*, facts: ModelFacts = FACTS, policy: Policy | None = None, limits: Limits | None = None, **fields: Any) -> Plan:
    return DIALECT.parse(body(**fields), limits or Limits()).plan(facts, policy or Policy())


def sent(**fields: Any) -> dict[str, Any]:
    return plan(**fields).calls[0].request()


def recorded(name: str) -> dict[str, Any]:
    response = json.loads((RECORDINGS / f"{name}.json").read_text())["response"]
    found: dict[str, Any] = json.loads(response["body"] or "".join(response["chunks"]))
    return found


def records(*vectors: list[float], tokens: int = 0) -> list[Record]:
    return [Record(embeddings=[msgspec.Raw(json.dumps(vector).encode()) for vector in vectors], prompt_eval_count=tokens)]


def refused(raw: bytes) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        DIALECT.parse(raw, Limits()).plan(FACTS, Policy())
    return caught.value


@pytest.mark.parametrize(
    ("given_input", "native"),
    [("Hello", ["Hello"]), (["Hello", "World"], ["Hello", "World"]), ("", [""]), ([""], [""]), (["a", ""], ["a", ""])],
)
def test_vectors_56_and_106_texts_go_to_ollama_as_a_list(given_input: Any, native: list[str]) -> None:
    assert sent(input=given_input) == {"model": "all-minilm:l6", "input": native, "truncate": False}


@pytest.mark.parametrize(
    ("given_input", "cls", "param"),
    [
        (None, InvalidRequest, "input"),
        ([], InvalidRequest, "input"),
        ({}, InvalidRequest, "input"),
        (1, InvalidRequest, "input"),
        (True, InvalidRequest, "input"),
        ([1, 2], UnsupportedValue, "input"),
        ([[1, 2], [3]], UnsupportedValue, "input"),
        ([[]], UnsupportedValue, "input"),
        (["a", 1], UnsupportedValue, "input"),
        (["a", None], InvalidRequest, "input[1]"),
        (["a", "b", 1.5], InvalidRequest, "input[2]"),
        ([True], InvalidRequest, "input[0]"),
        (["x"] * 2049, InvalidRequest, "input"),
    ],
)
def test_vector_56_what_is_no_text_is_a_clear_400(given_input: Any, cls: type[GatewayError], param: str) -> None:
    error = refused(body(input=given_input))

    assert (type(error), error.param) == (cls, param)


def test_token_ids_are_refused_with_what_to_send_instead() -> None:
    assert "send the texts themselves" in refused(body(input=[1, 2])).message


def test_a_missing_input_is_400_about_input() -> None:
    error = refused(b'{"model":"m"}')

    assert (error.status, error.param) == (400, "input")


@pytest.mark.parametrize("raw", [b'{"input":"x"}', b'{"input":"x","model":""}', b'{"input":"x","model":null}'])
def test_a_missing_model_is_400_about_model(raw: bytes) -> None:
    assert refused(raw).param == "model"


@pytest.mark.parametrize("spelling", ["base64", "Base64", "BASE64", "float", "Float", None])
def test_vector_57_the_encoding_format_is_read_without_regard_to_case(spelling: str | None) -> None:
    plan(encoding_format=spelling)


def test_vector_57_another_encoding_format_is_400_that_names_the_supported_ones() -> None:
    error = refused(body(encoding_format="int8"))

    assert error.param == "encoding_format"
    assert "float" in error.message
    assert "base64" in error.message


@pytest.mark.parametrize("dimensions", [0, -1, 1.5, "8", True, 2**40])
def test_dimensions_that_are_no_count_are_400(dimensions: Any) -> None:
    assert refused(body(dimensions=dimensions)).param == "dimensions"


def test_dimensions_are_passed_on() -> None:
    assert sent(dimensions=8.0)["dimensions"] == 8


def test_a_text_that_is_too_long_is_an_error_unless_the_caller_asks_to_cut_it() -> None:
    assert sent()["truncate"] is False
    assert sent(truncate=True)["truncate"] is True


def test_a_long_list_goes_in_parts_of_bounded_size_in_order() -> None:
    texts = [str(number) for number in range(130)]

    calls = plan(input=texts, limits=Limits(embed_part=64)).calls

    assert [len(call.request()["input"]) for call in calls] == [64, 64, 2]
    assert [text for call in calls for text in call.request()["input"]] == texts
    assert [call.index for call in calls] == [0, 1, 2]


def test_a_call_says_what_it_is() -> None:
    call = plan(input="Hello").calls[0]

    assert (call.endpoint, call.model, call.digest, call.stream) == ("/api/embed", "all-minilm:l6", "d1", False)
    assert call.wire_body == call.body
    assert call.deterministic
    assert call.prompt_tokens_estimate > 0


def test_vector_102_a_model_that_cannot_embed_is_400_before_ollama_loads_it() -> None:
    call = DIALECT.parse(body(), Limits())

    assert call.needs_facts
    with pytest.raises(UnsupportedValue) as caught:
        call.plan(ModelFacts("chat", capabilities=frozenset({"completion"})), Policy())
    assert caught.value.param == "model"


def test_a_model_whose_capabilities_are_unknown_is_asked() -> None:
    assert plan(facts=ModelFacts("m")).calls


def test_the_operators_options_and_keep_alive_are_sent_and_the_callers_named() -> None:
    policy = Policy(options={"num_ctx": 512}, keep_alive="1h")

    made = plan(policy=policy, keep_alive=-1, options={"num_ctx": 9}, logit_bias={"1": 2}, stream=True)

    assert made.calls[0].request()["options"] == {"num_ctx": 512}
    assert made.calls[0].request()["keep_alive"] == "1h"
    assert made.ignored == ("keep_alive", "options.num_ctx", "logit_bias", "stream")


def test_a_null_field_is_not_given() -> None:
    made = plan(user=None, dimensions=None, encoding_format=None, options=None, keep_alive=None, stream=None, odd=None)

    assert made.ignored == ()
    assert made.calls[0].request() == {"model": "all-minilm:l6", "input": ["Hello"], "truncate": False}


def test_the_user_is_known_and_not_sent() -> None:
    call = DIALECT.parse(body(user="u", safety_identifier="s"), Limits())

    assert call.user == "s"
    assert DIALECT.parse(body(user="u"), Limits()).user == "u"
    assert b'"u"' not in call.plan(FACTS, Policy()).calls[0].body


def test_vector_71_base64_is_little_endian_32_bit_floats() -> None:
    encoder = plan(encoding_format="base64").encoder(STAMP)
    encoder.feed(0, records([1.0, -0.5, 2.25]))

    embedding = json.loads(encoder.finish())["data"][0]["embedding"]

    assert base64.b64decode(embedding, validate=True) == struct.pack("<3f", 1.0, -0.5, 2.25)


def test_the_recorded_vector_is_what_ollamas_own_layer_sends_in_base64() -> None:
    line = json.dumps(recorded("embed-one")).encode()
    encoder = plan(encoding_format="base64").encoder(STAMP)
    encoder.feed(0, [decode_record(line)])

    answer = json.loads(encoder.finish())

    assert answer["data"] == recorded("v1-embeddings-base64")["data"]


def test_numbers_are_passed_on_as_ollama_wrote_them() -> None:
    encoder = plan().encoder(STAMP)
    encoder.feed(0, [decode_record(b'{"model":"m","embeddings":[[0.00003008162,1e-05,-0.0]],"prompt_eval_count":3}')])

    assert encoder.finish() == (
        b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.00003008162,1e-05,-0.0]}],'
        b'"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}'
    )


def test_parts_that_come_in_any_order_are_put_in_order_and_their_usage_is_summed() -> None:
    encoder = plan(input=["a", "b", "c"], limits=Limits(embed_part=2)).encoder(STAMP)

    encoder.feed(1, records([3.0], tokens=5))
    encoder.feed(0, records([1.0], [2.0], tokens=7))
    answer = CreateEmbeddingResponse.model_validate_json(encoder.finish(), strict=True)

    assert [one.embedding for one in answer.data] == [[1.0], [2.0], [3.0]]
    assert [one.index for one in answer.data] == [0, 1, 2]
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (12, 12)


@pytest.mark.parametrize(
    "wrong",
    [
        records(),
        records([1.0], [2.0]),
        [Record(embeddings=[msgspec.Raw(b"null")])],
        [Record(embeddings=[msgspec.Raw(b'["x"]')])],
        [Record(embeddings=[msgspec.Raw(b"[1e39]")])],
        [Record(done=True)],
    ],
)
def test_an_answer_that_is_not_one_vector_a_text_is_an_upstream_fault(wrong: list[Record]) -> None:
    encoder = plan(encoding_format="base64").encoder(STAMP)

    with pytest.raises(UpstreamInvalidResponse):
        encoder.feed(0, wrong)
        encoder.finish()


def test_one_vector_too_many_in_a_part_never_takes_the_place_of_the_next_parts() -> None:
    encoder = plan(input=["a", "b", "c"], limits=Limits(embed_part=2)).encoder(STAMP)

    with pytest.raises(UpstreamInvalidResponse):
        encoder.feed(0, records([1.0], [2.0], [9.0]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["model", "input", "dimensions", "encoding_format", "user", "truncate", "options", "keep_alive", "stream", "x"]
)


@given(st.dictionaries(FIELDS, JSON | st.sampled_from(["m", "base64", ["a", "b"], {"num_ctx": 1}])) | JSON)
def test_any_json_becomes_calls_or_a_400_that_names_a_field(value: Any) -> None:
    assert outcome(json.dumps(value).encode())


def outcome(raw: bytes) -> Any:
    """The calls, or the field that the refusal names."""
    try:
        return DIALECT.parse(raw, Limits()).plan(FACTS, Policy()).calls
    except InvalidRequest as error:
        return error.param or error.code == "invalid_json"
