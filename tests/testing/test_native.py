"""Requests as Ollama reads them: what passes, and its words for what does not."""

import json
from typing import Any

import pytest

from tornado_gateway.testing.native import Endpoint, read, read_show
from tornado_gateway.testing.refusals import Refusal

HELLO = [{"role": "user", "content": "Hello"}]


def refusal(body: Any, endpoint: Endpoint = "/api/chat") -> str:
    with pytest.raises(Refusal) as refused:
        read(endpoint, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert refused.value.status == 400
    return refused.value.text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "missing request body"),
        (b" \n", "missing request body"),
        (b'{"model":"x"', "unexpected EOF"),
        (b'{"model":"x', "unexpected EOF"),
        (b"{'a':1}", "invalid character '\\'' looking for beginning of value"),
        (b"\xef\xbb\xbf{}", "invalid character 'ï' looking for beginning of value"),
        ([], "json: cannot unmarshal array into Go value of type api.ChatRequest"),
        ("x", "json: cannot unmarshal string into Go value of type api.ChatRequest"),
        ({"model": 1}, "json: cannot unmarshal number into Go struct field ChatRequest.model of type string"),
        ({"stream": "yes"}, "json: cannot unmarshal string into Go struct field ChatRequest.stream of type bool"),
        (
            {"options": []},
            "json: cannot unmarshal array into Go struct field ChatRequest.options of type map[string]interface {}",
        ),
        ({"top_logprobs": 1.5}, "json: cannot unmarshal number 1.5 into Go struct field ChatRequest.top_logprobs of type int"),
        ({"top_logprobs": -1}, "top_logprobs must be between 0 and 20"),
        ({"messages": [1]}, "json: cannot unmarshal number into Go struct field ChatRequest.messages of type api.Message"),
        (
            {"messages": [{"content": 2}]},
            "json: cannot unmarshal number into Go struct field ChatRequest.messages.content of type string",
        ),
        (
            {"tools": [{"function": {"parameters": {"properties": {"x": True}}}}]},
            "json: cannot unmarshal bool into Go struct field ChatRequest.tools.function.parameters.properties of type api.ToolProperty",
        ),
        ({"think": 1}, 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'),
        ({"think": "HIGH"}, 'invalid think value: "HIGH" (must be "high", "medium", "low", "max", true, or false)'),
        ({"keep_alive": "300"}, 'time: missing unit in duration "300"'),
        ({"keep_alive": "abc"}, 'time: invalid duration "abc"'),
        ({"keep_alive": ""}, 'time: invalid duration ""'),
        ({"keep_alive": True}, "Unsupported type: bool"),
        ({"messages": [{"images": ["data:x"]}]}, "illegal base64 data at input byte 4"),
        ({"messages": [{"images": ["abc"]}]}, "illegal base64 data at input byte 3"),
    ],
)
def test_a_body_is_refused_in_the_decoders_words(body: Any, text: str) -> None:
    assert refusal(body) == text


@pytest.mark.parametrize("value", [1, [1, 2], ["a", 1], {"a": "b"}, True])
def test_an_input_that_is_no_text_is_refused(value: Any) -> None:
    assert refusal({"model": "x", "input": value}, "/api/embed") == "invalid input type"


@pytest.mark.parametrize(
    ("value", "inputs"), [("a", ["a"]), ("", []), ([], []), (None, []), ([""], [""]), (["a", "b"], ["a", "b"])]
)
def test_inputs_are_texts_in_order(value: Any, inputs: list[str]) -> None:
    assert read("/api/embed", json.dumps({"model": "x", "input": value}).encode()).inputs == inputs


def test_streaming_is_the_default_and_null_is_absent() -> None:
    assert read("/api/chat", b"{}").stream
    assert read("/api/chat", b'{"stream":null,"messages":null}').stream
    assert not read("/api/chat", b'{"stream":false}').stream
    assert read("/api/chat", b"null").asks_nothing


def test_keys_match_without_case_and_the_last_one_wins() -> None:
    request = read("/api/chat", '{"model":"a","Model":"b","\u017ftream":false}'.encode())

    assert (request.model, request.stream) == ("b", False)


def test_unknown_fields_and_what_follows_the_value_are_ignored() -> None:
    assert read("/api/chat", b'{"model":"a","n":[1]} trailing').model == "a"


def test_lone_surrogates_are_replaced() -> None:
    assert read("/api/chat", b'{"messages":[{"content":"\\ud800x"}]}').messages[0]["content"] == "\ufffdx"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(5, 5.0), (0.5, 0.5), ("5m", 300.0), ("1h30m", 5400.0), ("-1s", -1.0), ("0", 0.0), (-1, -1.0), (1e18, 0.0)],
)
def test_keep_alive_is_seconds_or_a_duration(value: Any, seconds: float) -> None:
    assert read("/api/chat", json.dumps({"keep_alive": value}).encode()).keep_alive == pytest.approx(seconds)


def test_roles_are_lowered_and_missing_ones_are_empty() -> None:
    assert [m["role"] for m in read("/api/chat", b'{"messages":[{"role":"USER"},{}]}').messages] == ["user", ""]


def test_base64_may_have_line_breaks_and_may_be_empty() -> None:
    assert read("/api/generate", b'{"images":["aGVs\\r\\nbG8=",""]}').images == [b"hello", b""]


def test_show_takes_name_for_model_and_wants_one() -> None:
    assert read_show(b'{"name":"a"}') == "a"
    with pytest.raises(Refusal, match="model is required"):
        read_show(b"{}")
