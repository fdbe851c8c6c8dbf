"""The fields of a chat request: every one of OpenAI's is known or ignored by intention."""

import typing

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from tornado_gateway.errors import InvalidJSON, InvalidRequest
from tornado_gateway.wire.openai_chat_fields import IGNORED_FIELDS, KNOWN_FIELDS, read_chat_request


def test_every_field_of_the_installed_openai_package_is_known_or_ignored_by_intention() -> None:
    official = set(typing.get_type_hints(CompletionCreateParamsBase)) | {"stream"}

    assert official - KNOWN_FIELDS - IGNORED_FIELDS == set()
    assert set() == KNOWN_FIELDS & IGNORED_FIELDS


def test_a_body_is_read_with_its_kinds_checked() -> None:
    request, _ = read_chat_request(
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}],"n":2.0}'
    )

    assert request.model == "m"
    assert request.n == 2.0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":5}', "model"),
        (b'{"messages":"Hi"}', "messages"),
        (b'{"messages":[{"tool_calls":[{"function":{"arguments":[1]}}]}]}', "messages[0].tool_calls[0].function.arguments"),
        (b'{"tools":[{"function":{"parameters":"none"}}]}', "tools[0].function.parameters"),
        (b'{"response_format":"json"}', "response_format"),
        (b'{"stream_options":true}', "stream_options"),
        (b'{"tool_choice":5}', "tool_choice"),
        (b'{"user":5}', "user"),
        (b'{"logprobs":5}', "logprobs"),
        (b'{"options":{"num_ctx":1e999}}', "options"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(body: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_chat_request(body)

    assert caught.value.param == param


def test_a_body_that_is_no_object_is_invalid_json() -> None:
    with pytest.raises(InvalidJSON):
        read_chat_request(b"[]")
