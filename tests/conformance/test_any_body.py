"""Whatever a client sends, it gets an answer of the right shape or an error of the right shape."""

from __future__ import annotations

import json
from typing import Any

from conformance.bodies import JSON, requests
from conformance.conftest import Threaded
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import types
from openai.types import chat

from tornado_gateway.testing import FakeOllama

WHOLE: dict[str, Any] = {
    "/v1/chat/completions": chat.ChatCompletion,
    "/v1/completions": types.Completion,
    "/v1/embeddings": types.CreateEmbeddingResponse,
}
CHUNKS: dict[str, Any] = {"/v1/chat/completions": chat.ChatCompletionChunk, "/v1/completions": types.Completion}


@settings(max_examples=settings().max_examples * 5)
@given(requests())
def test_any_body_gets_an_answer_or_an_error_of_the_right_shape(threaded: Threaded, request_: tuple[str, bytes]) -> None:
    path, body = request_

    response, answer = threaded.post(path, body)

    if response.status != 200:
        check_error(response.status, dict(response.getheaders()), answer)
    elif response.headers["Content-Type"].startswith("text/event-stream"):
        check_stream(path, answer)
    else:
        assert response.headers["Content-Type"] == "application/json"
        check_whole(path, answer, json.loads(body))


@given(st.sampled_from(sorted(WHOLE)), st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_request_at_all_is_a_400(threaded: Threaded, path: str, body: bytes) -> None:
    response, answer = threaded.post(path, body)

    assert response.status == 400
    check_error(response.status, dict(response.getheaders()), answer)


def check_error(status: int, headers: dict[str, str], body: bytes) -> None:
    assert status in (400, 404), body
    error = json.loads(body)["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["message"]
    assert isinstance(error["message"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert (error["type"], status) in (("invalid_request_error", 400), ("not_found_error", 404))
    assert error["param"] is not None or error["code"] == "invalid_json", error
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Should-Retry"] == "false"
    assert headers["X-Request-Id"]


def check_stream(path: str, body: bytes) -> None:
    *events, done, rest = body.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [CHUNKS[path].model_validate_json(event.removeprefix("data: "), strict=True) for event in known(path, events)]
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    finish = [json.loads(event.removeprefix("data: "))["choices"] for event in events]
    ends = [choice["index"] for choices in finish for choice in choices if choice["finish_reason"] is not None]
    assert sorted(ends) == list(range(len(ends)))
    assert ends


def known(path: str, events: list[str]) -> list[str]:
    """OpenAI sends `finish_reason: null` in chunks of completions, which the SDK's type, made for whole ones, does not know."""
    return events if "chat" in path else [event.replace('"finish_reason":null', '"finish_reason":"stop"') for event in events]


def check_whole(path: str, body: bytes, request: Any) -> None:
    """Strictly of the SDK's own type; but for embeddings in base64, which it does not know by type."""
    if path == "/v1/embeddings" and str(request.get("encoding_format")).lower() == "base64":
        assert all(isinstance(item["embedding"], str) for item in json.loads(body)["data"])
    else:
        WHOLE[path].model_validate_json(body, strict=True)


def test_the_household_can_everything(threaded: Threaded) -> None:
    """Or the property above would say little: each kind of request has a model here that answers it."""
    assert isinstance(threaded.ollama, FakeOllama)
    able = set().union(*(model.capabilities for model in threaded.do(lambda: threaded.ollama.models)))
    assert able >= {"completion", "tools", "vision", "audio", "thinking", "insert", "embedding"}
