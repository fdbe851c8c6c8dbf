"""Ollama's errors in OpenAI's words: the recordings of a real Ollama, and every text of the wire sheet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.errors import (
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    UnsupportedValue,
    UpstreamError,
    UpstreamInvalidResponse,
)
from tornado_gateway.wire.ollama_errors import error_of, record_error

RECORDINGS = Path(__file__).parents[1] / "transcripts"

RECORDED: dict[str, tuple[type[GatewayError], str | None]] = {
    "chat-bad-format": (InvalidRequest, "response_format"),
    "chat-bad-json": (InvalidRequest, "messages"),
    "chat-bad-name": (ModelNotFound, "model"),
    "chat-bad-option-type": (InvalidRequest, "temperature"),
    "chat-bad-schema": (InvalidRequest, "response_format"),
    "chat-cloud-model": (ModelNotFound, "model"),
    "chat-content-list": (InvalidRequest, "messages"),
    "chat-context-overflow": (ContextLengthExceeded, "messages"),
    "chat-embed-model": (UnsupportedValue, "model"),
    "chat-empty-body": (InvalidRequest, "messages"),
    "chat-empty-model": (InvalidRequest, "model"),
    "chat-image-bad-base64": (InvalidRequest, "messages"),
    "chat-image-incapable": (UnsupportedValue, "messages"),
    "chat-logprobs-21": (InvalidRequest, "top_logprobs"),
    "chat-no-model": (InvalidRequest, "model"),
    "chat-think-bad": (InvalidRequest, "reasoning_effort"),
    "chat-think-incapable": (UnsupportedValue, "reasoning_effort"),
    "chat-tool-args-string": (InvalidRequest, "messages"),
    "chat-tools-incapable": (UnsupportedValue, "tools"),
    "chat-unknown-model": (ModelNotFound, "model"),
    "chat-wrong-type": (InvalidRequest, "messages"),
    "embed-chat-model": (UnsupportedValue, "model"),
    "embed-token-ids": (InvalidRequest, "input"),
    "embed-too-long": (ContextLengthExceeded, "input"),
    "generate-suffix-incapable": (UnsupportedValue, "suffix"),
    "queue-full": (Overloaded, None),
    "runner-killed-once": (UpstreamError, None),
    "show-unknown": (ModelNotFound, "model"),
    "unknown-path": (UpstreamInvalidResponse, None),
    "wrong-method": (UpstreamInvalidResponse, None),
}

Case = tuple[int, str, str, type[GatewayError], str | None]
SHEET: list[Case] = [
    # status, text, endpoint, class, param: the rows of the sheet that no recording has
    (404, "model '' not found", "/api/generate", ModelNotFound, "model"),
    (404, 'model "NAME" not found, try pulling it first', "/api/embed", ModelNotFound, "model"),
    (400, "use either :local or :cloud, not both: x", "/api/chat", ModelNotFound, "model"),
    (400, "a does not support tools\nregistry/x:y does not support insert", "/api/chat", UnsupportedValue, "tools"),
    (400, '"all-minilm:l6" does not support generate', "/api/generate", UnsupportedValue, "model"),
    (400, "this model does not support image input", "/api/chat", UnsupportedValue, "messages"),
    (499, "request canceled", "/api/chat", UpstreamError, None),
    (500, 'option "num_predict" must be of type integer', "/api/chat", InvalidRequest, "max_tokens"),
    (500, "template: :1: unclosed action", "/api/generate", UpstreamError, None),
    (500, "llama-server process has terminated: exit status 2", "/api/chat", UpstreamError, None),
    (500, "model runner has unexpectedly stopped, this may be due to resource limits", "/api/chat", UpstreamError, None),
    (500, "timed out waiting for llama-server to start - progress 0.00", "/api/chat", UpstreamError, None),
    (400, "the prompt is longer than the context length currently available to the model; shorten the prompt", "/api/chat", ContextLengthExceeded, "messages"),
    (400, "input length of 900 tokens exceeds the model's maximum context length of 512 tokens", "/api/generate", ContextLengthExceeded, "prompt"),
    (500, "input (600 tokens) is too large to process. increase the physical batch size", "/api/embed", ContextLengthExceeded, "input"),
    (400, "failed to encode response: json: unsupported value: NaN", "/api/embed", UpstreamError, None),
    (400, 'do embedding request: Post "http://127.0.0.1:36097/embedding": EOF', "/api/embed", UpstreamError, None),
    (500, "error parsing tool call: raw='model '/x' not found', err=unexpected end of JSON input", "/api/chat", UpstreamError, None),
    (400, "image generation models are not currently supported", "/api/generate", UnsupportedValue, "model"),
    (403, "ollama cloud is disabled: remote model details are unavailable", "/api/show", ModelNotFound, "model"),
    (401, "invalid key for this proxy", "/api/chat", UpstreamError, None),
    (502, "dial tcp: lookup ollama.com: no such host", "/api/chat", UpstreamError, None),
    (429, "too many concurrent requests", "/api/chat", Overloaded, None),
    (500, "context deadline exceeded", "/api/chat", UpstreamError, None),
    (500, "model requires more system memory (9.4 GiB) than is available (3.1 GiB)", "/api/chat", UpstreamError, None),
    (400, "something that nobody has seen before", "/api/chat", InvalidRequest, "messages"),
    (418, "something that nobody has seen before", "/api/chat", UpstreamError, None),
    (500, "something that nobody has seen before", "/api/chat", UpstreamError, None),
]  # fmt: skip

PRIVATE = [
    "open /root/.ollama/models/blobs/sha256-0123456789abcdef: permission denied",
    r"unable to load model: C:\Users\ada\.ollama\models\blobs\x",
    'Post "http://10.0.0.7:36097/completion": EOF',
    "dial tcp 192.168.4.20:11434: connect: connection refused",
    "dial tcp [fe80::1]:11434: i/o timeout",
    "lookup gpu-box.corp.example.com: no such host",
    "Get localhost:11434: EOF",
    "unauthorized: Bearer sk-canary-0123456789",
    "pull of 5f4dcc3b5aa765d61d8327deb882cf99 failed",
]
SECRETS = (
    "ollama/",
    "ada",
    "10.0.0.7",
    "192.168",
    "fe80",
    "corp",
    "localhost",
    "canary",
    "5f4dcc3b",
    "36097",
    "11434",
    "sha256",
)


def recorded(name: str) -> tuple[int, bytes, str]:
    recording = json.loads((RECORDINGS / f"{name}.json").read_text())
    response = recording["response"]
    body = response["body"] if response["body"] is not None else "".join(response["chunks"])
    return int(response["status"].split()[1]), body.encode(), recording["request"]["path"]


def failures() -> set[str]:
    names = {path.stem for path in RECORDINGS.glob("*.json") if not path.stem.startswith("v1-")}
    return {name for name in names if recorded(name)[0] >= 400}


def answer(status: int, text: str, endpoint: str = "/api/chat") -> GatewayError:
    return error_of(status, json.dumps({"error": text}).encode(), endpoint=endpoint)


def test_every_recorded_failure_has_its_row_here() -> None:
    assert failures() == set(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_failure_gets_its_class_and_param(name: str) -> None:
    status, body, path = recorded(name)

    error = error_of(status, body, endpoint=path)

    assert (type(error), error.param) == RECORDED[name]


@pytest.mark.parametrize(("status", "text", "endpoint", "cls", "param"), SHEET)
def test_a_text_of_the_wire_sheet_gets_its_class_and_param(
    status: int, text: str, endpoint: str, cls: type[GatewayError], param: str | None
) -> None:
    error = answer(status, text, endpoint)

    assert (type(error), error.param) == (cls, param)


def test_vector_68_and_103_an_overflow_names_both_numbers() -> None:
    status, body, path = recorded("chat-context-overflow")

    error = error_of(status, body, endpoint=path)

    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert "3010" in error.message
    assert "512" in error.message


def test_an_overflow_named_in_text_alone_names_both_numbers() -> None:
    error = answer(400, "request (3010 tokens) exceeds the available context size (512 tokens)", "/api/generate")

    assert (error.code, error.param) == ("context_length_exceeded", "prompt")
    assert "3010" in error.message
    assert "512" in error.message


def test_vector_66_a_full_queue_is_503_and_says_when_to_come_back() -> None:
    error = error_of(*recorded("queue-full")[:2])

    assert (error.status, error.code, error.retry) == (503, "overloaded", True)
    assert error.retry_after


def test_vector_67_a_tool_call_that_the_model_got_wrong_is_502_and_not_repeated() -> None:
    error = answer(500, "error parsing tool call: raw='{\"secret prompt', err=unexpected end of JSON input")

    assert (error.status, error.code, error.retry) == (502, "upstream_error", False)
    assert "secret" not in error.message


def test_vector_101_a_runner_that_died_is_502() -> None:
    error = error_of(*recorded("runner-killed-once")[:2])

    assert (error.status, error.type, error.code) == (502, "api_error", "upstream_error")


def test_vector_102_embeddings_of_a_chat_model_are_400_about_the_model() -> None:
    status, body, path = recorded("embed-chat-model")

    error = error_of(status, body, endpoint=path)

    assert (error.status, error.code, error.param) == (400, "unsupported_value", "model")


def test_vector_51_an_unknown_model_is_404_model_not_found() -> None:
    error = error_of(*recorded("chat-unknown-model")[:2])

    assert (error.status, error.type, error.code) == (404, "not_found_error", "model_not_found")


def test_vector_100_an_error_line_in_mid_stream_is_an_upstream_error() -> None:
    recording = json.loads((RECORDINGS / "runner-killed-stream.json").read_text())
    line = json.loads(recording["response"]["chunks"][-1])

    error = record_error(line["error"])

    assert error.body()["code"] == "upstream_error"


def test_vector_88_an_unknown_error_line_is_an_upstream_error() -> None:
    assert record_error("boom").body() == {
        "message": "Ollama failed to answer: boom",
        "type": "api_error",
        "param": None,
        "code": "upstream_error",
    }


def test_an_error_line_may_be_the_runners_json_in_a_string() -> None:
    inner = {"error": {"code": 400, "message": "exceeds the available context size", "n_prompt_tokens": 9, "n_ctx": 4}}

    error = record_error(json.dumps(inner))

    assert isinstance(error, ContextLengthExceeded)
    assert "9 tokens" in error.message


def test_the_runners_json_is_found_behind_a_heading() -> None:
    error = answer(500, 'llama-server: {"error":{"code":400,"message":"model does not support multimodal requests."}}')

    assert isinstance(error, UnsupportedValue)


def test_a_schema_that_ollama_refuses_is_400_with_its_reason() -> None:
    status, body, _ = recorded("chat-bad-schema")

    error = error_of(status, body)

    assert 'Unrecognized schema: {"type":"nonsense"}' in error.message
    assert "json_schema" not in error.message


def test_a_cloud_account_that_is_not_signed_in_looks_like_a_model_that_is_not_there() -> None:
    error = error_of(401, b'{"error":"unauthorized","signin_url":"https://ollama.com/connect?key=abc"}')

    assert isinstance(error, ModelNotFound)
    assert "ollama.com" not in error.message


@pytest.mark.parametrize("status", [100, 204, 301, 302, 307, 308, 600, 999])
def test_a_status_that_ollama_never_sends_is_an_invalid_response(status: int) -> None:
    error = error_of(status, b'{"error":"x"}')

    assert (error.status, error.code) == (502, "upstream_invalid_response")


@pytest.mark.parametrize(
    "body", [b"", b"<html><h1>502 Bad Gateway</h1></html>", b"[]", b"null", b'{"error":1}', b'{"a":1}', b"\xff", b"[" * 5000]
)
@pytest.mark.parametrize("status", [400, 403, 404, 500, 502, 503])
def test_a_body_that_is_not_ollamas_is_an_invalid_response(status: int, body: bytes) -> None:
    error = error_of(status, body)

    assert (error.status, error.code) == (502, "upstream_invalid_response")
    assert "html" not in error.message


@pytest.mark.parametrize("text", PRIVATE)
@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_nothing_private_of_ollamas_machine_is_passed_on(text: str, status: int) -> None:
    errors = [answer(status, text), record_error(text), answer(status, json.dumps({"error": {"message": text}}))]

    assert not [secret for error in errors for secret in SECRETS if secret in error.message]


def test_words_that_help_the_operator_are_passed_on() -> None:
    error = answer(500, "model requires more system memory (9.4 GiB) than is available (3.1 GiB)")

    assert "9.4 GiB" in error.message


@given(status=st.integers(0, 1000), body=st.binary() | st.text().map(lambda text: json.dumps({"error": text}).encode()))
def test_any_answer_becomes_an_error_with_a_bounded_printable_message(status: int, body: bytes) -> None:
    error = error_of(status, body)

    assert error.status >= 400
    assert 0 < len(error.message) < 600
    assert "\n" not in error.message
    assert error.status != 400 or error.param
