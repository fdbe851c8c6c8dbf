"""The test vectors of Ollama's wire sheet for chat requests, by number. Where it recommends something (G), that is tested."""

import base64
from typing import Any

import pytest
from chatting import ABLE, HELLO, WEATHER, messages, native, plan, refused

from tornado_gateway.wire.dialect import Policy
from tornado_gateway.wire.openai_chat import IGNORED_FIELDS, KNOWN_FIELDS

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = {"id": "id_abc", "type": "function", "function": {"name": "get_weather", "arguments": '{"location":"Paris"}'}}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def image(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": url}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_vector_1_a_plain_request_sends_no_options() -> None:
    call = plan().calls[0]

    assert call.request() == {"model": "m:latest", "messages": HELLO, "truncate": False}
    assert call.wire_body.endswith(b',"stream":false}')


def test_vector_2_parameters_are_options_and_values_out_of_range_are_refused() -> None:
    given: dict[str, Any] = {
        "stream": True,
        "max_tokens": 999,
        "seed": 123,
        "stop": ["\n", "stop"],
        "response_format": {"type": "json_object"},
    }

    sent = plan(**given, temperature=1.5, frequency_penalty=2, presence_penalty=-2, top_p=0.5).calls[0]

    assert sent.stream
    assert sent.request()["format"] == "json"
    assert sent.request()["options"] == {
        "frequency_penalty": 2.0,
        "num_predict": 999,
        "presence_penalty": -2.0,
        "seed": 123,
        "stop": ["\n", "stop"],
        "temperature": 1.5,
        "top_p": 0.5,
    }
    for name, value in {"temperature": 3, "frequency_penalty": 4, "presence_penalty": 5, "top_p": 6}.items():
        assert refused(**{name: value}).param == name


def test_vector_3_include_usage_changes_nothing_that_is_sent() -> None:
    assert plan(stream=True, stream_options={"include_usage": True}).calls == plan(stream=True).calls


@pytest.mark.parametrize(
    ("number", "stop", "sent"),
    [
        (4, "END", {"stop": ["END"]}),
        (5, None, None),
        (6, [], None),
        (105, [""], None),
        (105, ["", "a"], {"stop": ["a"]}),
    ],
)
def test_vectors_4_to_6_and_105_stop(number: int, stop: Any, sent: Any) -> None:
    assert native(stop=stop).get("options") == sent


def test_vector_7_a_stop_list_with_a_number_is_refused() -> None:
    assert refused(stop=["a", 1]).param == "stop[1]"


def test_vector_8_max_completion_tokens_is_num_predict() -> None:
    assert native(max_completion_tokens=50)["options"] == {"num_predict": 50}


def test_vector_9_max_completion_tokens_wins() -> None:
    both = plan(max_tokens=10, max_completion_tokens=20)

    assert both.calls[0].request()["options"] == {"num_predict": 20}
    assert both.ignored == ("max_tokens",)


def test_vector_10_every_optional_field_null_is_a_plain_request() -> None:
    nothing = dict.fromkeys((KNOWN_FIELDS | IGNORED_FIELDS) - {"model", "messages"})

    assert plan(**nothing).calls == plan().calls
    assert plan(**nothing).ignored == ()


def test_vector_11_an_integral_float_is_an_integer() -> None:
    assert native(max_tokens=1.0)["options"] == {"num_predict": 1}
    assert refused(max_tokens=1.5).param == "max_tokens"
    assert refused(max_tokens="5").param == "max_tokens"


def test_vector_12_text_and_image_are_one_message() -> None:
    sent = messages(user(text("Hello"), image({"url": f"data:image/jpeg;base64,{PIXEL}"})))

    assert sent == [{"role": "user", "content": "Hello", "images": [PIXEL]}]


def test_vector_13_an_image_url_may_be_a_bare_string() -> None:
    assert messages(user(image(f"data:image/png;base64,{PIXEL}")))[0]["images"] == [PIXEL]


@pytest.mark.parametrize("label", ["image/png", "image/jpg", "image/jpeg", "image/webp", ""])
def test_vectors_14_and_15_labels_of_images(label: str) -> None:
    assert messages(user(image({"url": f"data:{label};base64,{PIXEL}"})))[0]["images"] == [PIXEL]


@pytest.mark.parametrize(
    ("number", "url"),
    [
        (16, f"data:image/gif;base64,{PIXEL}"),
        (16, f"data:image/png;base64,{base64.b64encode(b'GIF89a......').decode()}"),
        (17, "data:image/png;base64,not-valid!"),
        (18, "https://example.com/a.png"),
    ],
)
def test_vectors_16_to_18_what_is_no_image_is_refused_and_named(number: int, url: str) -> None:
    error = refused(messages=[user(text("Look"), image({"url": url}))])

    assert error.param == "messages[0].content[1].image_url"
    assert number != 18 or "data:image/png;base64," in error.message


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/PNG;base64,{PIXEL}",
        f"DATA:image/png;charset=utf-8;BASE64,{PIXEL}",
        f"data:image/png;base64,{PIXEL.rstrip('=')}",
        "data:image/png;base64," + PIXEL.replace("+", "-").replace("/", "_"),
        f"data:image/png;base64,{PIXEL[:40]}\r\n{PIXEL[40:]}",
        "data:image/png;base64," + PIXEL.replace("+", "%2B").replace("=", "%3D"),
    ],
)
def test_vector_19_every_spelling_of_a_data_url_is_normalised(url: str) -> None:
    assert messages(user(image({"url": url})))[0]["images"] == [PIXEL]


def test_vector_20_audio_goes_with_the_images() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}

    assert messages(user(text("Listen"), part)) == [{"role": "user", "content": "Listen", "images": ["UklGRg=="]}]
    assert refused(capabilities=ABLE - {"audio"}, messages=[user(part)]).param == "messages[0].content[0]"


@pytest.mark.parametrize(
    ("number", "turn", "param"),
    [
        (21, user({"type": "file"}), "messages[0].content[0].file.file_data"),
        (21, user({"type": "text", "text": 5}), "messages[0].content[0].text"),
        (22, {"role": "user", "content": 2}, "messages[0].content"),
        (23, {"role": "user", "content": None}, "messages[0].content"),
    ],
)
def test_vectors_21_to_23_wrong_content_is_named(number: int, turn: Any, param: str) -> None:
    assert refused(messages=[turn]).param == param


@pytest.mark.parametrize(
    ("number", "beside", "expected"),
    [
        (24, {}, {"content": ""}),
        (25, {"content": "Let's see…"}, {"content": "Let's see…"}),
        (26, {"content": ""}, {"content": ""}),
        (27, {"reasoning": "Hm"}, {"content": "", "thinking": "Hm"}),
        (27, {"reasoning_content": "Hm"}, {"content": "", "thinking": "Hm"}),
    ],
)
def test_vectors_24_to_27_calls_in_history(number: int, beside: Any, expected: Any) -> None:
    function = {"name": "get_current_weather", "arguments": '{"location":"Paris, France","format":"celsius"}'}

    sent = messages({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": function}], **beside})

    arguments = {"location": "Paris, France", "format": "celsius"}
    calls = [{"id": "c", "function": {"name": "get_current_weather", "arguments": arguments}}]
    assert sent == [{"role": "assistant", **expected, "tool_calls": calls}]


def test_vectors_28_to_32_results_of_calls() -> None:
    again = {**CALL, "function": {"name": "other", "arguments": ""}}
    sent = messages(
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "id_abc", "content": "20"},
        {"role": "tool", "name": "f", "content": "21"},
        {"role": "tool", "tool_call_id": "lost", "content": "22"},
        {"role": "assistant", "content": None, "tool_calls": [again]},
        {"role": "tool", "tool_call_id": "id_abc", "content": [text("20"), text("C")]},
    )

    assert sent[1] == {"role": "tool", "content": "20", "tool_name": "get_weather", "tool_call_id": "id_abc"}
    assert sent[2] == {"role": "tool", "content": "21", "tool_name": "f"}
    assert sent[3] == {"role": "tool", "content": "22", "tool_call_id": "lost"}
    assert sent[5] == {"role": "tool", "content": "20C", "tool_name": "other", "tool_call_id": "id_abc"}


@pytest.mark.parametrize("arguments", ["", None, {}, "{}"])
def test_vectors_33_and_35_arguments_may_be_empty_or_an_object(arguments: Any) -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": arguments}}

    sent = messages({"role": "assistant", "tool_calls": [call]})

    assert sent[0]["tool_calls"] == [{"id": "a", "function": {"name": "f", "arguments": {}}}]


@pytest.mark.parametrize("arguments", ["[1]", '"x"', "{bad"])
def test_vector_34_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": arguments}}

    error = refused(messages=[*HELLO, {"role": "assistant", "tool_calls": [CALL, call]}])

    assert error.param == "messages[1].tool_calls[1].function.arguments"


def test_vector_36_tools_are_sent() -> None:
    call = plan(tools=[WEATHER], stream=True).calls[0]

    assert call.request()["tools"] == [WEATHER]
    assert call.stream
    assert "format" not in call.request()


def test_vectors_37_to_39_schemas_of_parameters_are_made_fit() -> None:
    schema = {
        "$defs": {"Place": {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}},
        "type": "object",
        "properties": {
            "place": {"$ref": "#/$defs/Place"},
            "when": {"oneOf": [{"const": "now"}, {"type": "null"}]},
            "any": True,
        },
    }

    tools = [{"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}]
    tools.append({"type": "function", "function": {"name": "g"}})
    sent = native(tools=tools)["tools"]

    assert sent[0]["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "place": {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False},
            "when": {"anyOf": [{"enum": ["now"]}, {"type": "null"}]},
            "any": {},
        },
    }
    assert sent[1]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_vector_40_tool_choice_none_sends_no_tools() -> None:
    sent = native(tools=[WEATHER], tool_choice="none", messages=[*HELLO, {"role": "assistant", "tool_calls": [CALL]}])

    assert "tools" not in sent
    assert sent["messages"][1]["tool_calls"]


def test_vector_41_a_named_function_is_the_only_one_and_the_format_is_its_call() -> None:
    other = {"type": "function", "function": {"name": "other"}}

    sent = native(tools=[other, WEATHER], tool_choice={"type": "function", "function": {"name": "get_weather"}})

    assert sent["tools"] == [WEATHER]
    assert sent["format"]["properties"]["name"] == {"type": "string", "enum": ["get_weather"]}
    assert sent["format"]["properties"]["arguments"] == WEATHER["function"]["parameters"]  # type: ignore[index]  # a literal


def test_vectors_42_to_44_response_formats() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}

    assert native(response_format=schema)["format"] == SCHEMA
    assert "format" not in native(response_format={"type": "text"})
    error = refused(response_format={"type": "json_schema", "json_schema": {"name": "a"}})
    assert error.param == "response_format.json_schema.schema"


@pytest.mark.parametrize(
    ("effort", "think"),
    [
        ("none", False),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "max"),
        ("max", "max"),
        ("ultra", "max"),
    ],
)
def test_vector_45_efforts(effort: str, think: Any) -> None:
    assert native(reasoning_effort=effort)["think"] == think


def test_vector_45_an_unknown_effort_is_refused() -> None:
    assert refused(reasoning_effort="extreme").param == "reasoning_effort"


def test_vector_46_reasoning_wins_over_reasoning_effort() -> None:
    assert native(reasoning={"effort": "high"}, reasoning_effort="low")["think"] == "high"


def test_vector_47_an_effort_is_dropped_on_a_model_that_cannot_think() -> None:
    dropped = plan(capabilities=frozenset({"completion"}), reasoning_effort="medium")

    assert "think" not in dropped.calls[0].request()
    assert dropped.ignored == ("reasoning_effort",)


def test_vector_48_a_developer_is_the_system() -> None:
    assert messages({"role": "developer", "content": "Be brief."})[0]["role"] == "system"


def test_vector_49_logprobs() -> None:
    sent = native(logprobs=True, top_logprobs=5)

    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 5)
    assert refused(logprobs=True, top_logprobs=21).param == "top_logprobs"
    assert refused(top_logprobs=5).param == "top_logprobs"


def test_vector_50_no_messages_are_refused() -> None:
    assert refused(messages=[]).param == "messages"


def test_vector_53_each_choice_is_a_call_of_its_own() -> None:
    calls = plan(n=2, seed=7).calls

    assert [call.index for call in calls] == [0, 1]
    assert [call.request()["options"]["seed"] for call in calls] == [7, 8]


def test_vector_54_load_time_options_and_keep_alive_are_the_operators() -> None:
    fields: dict[str, Any] = {"options": {"num_ctx": 8192, "top_k": 5}, "keep_alive": -1}
    policy = Policy(options={"num_ctx": 4096}, keep_alive="5m")

    held = plan(policy=policy, **fields)
    allowed = plan(policy=Policy(options={"num_ctx": 4096}, allow=frozenset({"num_ctx", "keep_alive"})), **fields)

    assert held.calls[0].request()["options"] == {"num_ctx": 4096, "top_k": 5}
    assert held.calls[0].request()["keep_alive"] == "5m"
    assert held.ignored == ("options.num_ctx", "keep_alive")
    assert allowed.calls[0].request()["options"] == {"num_ctx": 8192, "top_k": 5}
    assert (allowed.calls[0].request()["keep_alive"], allowed.ignored) == (-1, ())
