"""Errors as openai-python raises them: the class by status, the code, the field at fault, and what the client tries again."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
from serving import AUTH, KEY, Served, serving

from tornado_gateway.testing import Behaviour, FakeOllama, cut, fail, hang, say

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
BUSY = "server busy, please try again.  maximum pending requests exceeded"
OVERFLOW = json.dumps({"error": {"code": 400, "message": "the request exceeds the available context size (512 tokens)"}})


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.fixture
async def served(ollama: FakeOllama) -> AsyncIterator[Served]:
    async with serving(ollama.url, upstream={"first_byte_seconds": 0.5}, server={"max_body_bytes": 4096}) as running:
        yield running


def client_for(served: Served, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(**{"base_url": served.base_url, "api_key": KEY, "max_retries": 0, **options})


async def raised(client: openai.AsyncOpenAI, **fields: Any) -> openai.APIStatusError:
    async with client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(**{"model": "llama3.2", "messages": MESSAGES, **fields})
    error = caught.value
    assert isinstance(error.body, dict)
    assert list(error.body) == ["message", "type", "param", "code"]
    assert error.request_id == error.response.headers["x-request-id"]
    assert error.response.headers["x-should-retry"] in ("true", "false")
    return error


@pytest.mark.parametrize(
    ("options", "fields", "expected"),
    [
        ({}, {"temperature": 9}, (openai.BadRequestError, 400, "invalid_request_error", "invalid_request", "temperature")),
        ({}, {"tools": [{"type": "function", "function": {"name": "f"}}], "model": "llava"}, (openai.BadRequestError, 400, "invalid_request_error", "unsupported_value", "tools")),
        ({"default_query": {"key": "x"}}, {}, (openai.BadRequestError, 400, "invalid_request_error", "key_in_query", None)),
        ({"api_key": "x"}, {}, (openai.AuthenticationError, 401, "authentication_error", "invalid_api_key", None)),
        (
            {"default_headers": {"Host": "evil.example"}}, {},
            (openai.PermissionDeniedError, 403, "permission_error", "host_not_allowed", None),
        ),
        (
            {"default_headers": {"Origin": "https://evil.example"}}, {},
            (openai.PermissionDeniedError, 403, "permission_error", "origin_not_allowed", None),
        ),
        ({}, {"model": "gpt-9"}, (openai.NotFoundError, 404, "not_found_error", "model_not_found", "model")),
        ({}, {"extra_body": {"pad": "x" * 5000}}, (openai.APIStatusError, 413, "invalid_request_error", "request_too_large", None)),
        (
            {"default_headers": {"Content-Type": "text/plain"}}, {},
            (openai.APIStatusError, 415, "invalid_request_error", "unsupported_media_type", None),
        ),
    ],
)  # fmt: skip
async def test_a_fault_of_the_caller_has_its_class(
    served: Served, ollama: FakeOllama, options: dict[str, Any], fields: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    error = await raised(client_for(served, **options), **fields)

    found = (error.status_code, error.type, error.code, error.param)
    assert isinstance(error, expected[0])
    assert found == expected[1:]
    assert not ollama.ledger.inference


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (fail(400, OVERFLOW), (openai.BadRequestError, 400, "invalid_request_error", "context_length_exceeded")),
        (fail(), (openai.InternalServerError, 502, "api_error", "upstream_error")),
        (cut(after_bytes=20), (openai.InternalServerError, 502, "api_error", "upstream_closed")),
        (Behaviour(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope"), (openai.InternalServerError, 502, "api_error", "upstream_invalid_response")),
        (fail(503, BUSY), (openai.InternalServerError, 503, "overloaded_error", "overloaded")),
        (hang(), (openai.InternalServerError, 504, "timeout_error", "upstream_timeout")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_a_fault_of_ollama_has_its_class(
    served: Served, ollama: FakeOllama, behaviour: Behaviour, expected: tuple[Any, ...], stream: bool
) -> None:
    ollama.next(behaviour)

    error = await raised(client_for(served), stream=stream)

    assert isinstance(error, expected[0])
    assert (error.status_code, error.type, error.code) == expected[1:]
    assert len(ollama.ledger.inference) == 1


async def test_a_model_that_does_not_chat_is_named_as_the_fault(served: Served) -> None:
    error = await raised(client_for(served), model="nomic-embed-text")

    assert (error.status_code, error.code, error.param) == (400, "unsupported_value", "model")


async def test_an_ollama_that_is_down_is_a_503(served: Served, ollama: FakeOllama) -> None:
    await ollama.stop()

    error = await raised(client_for(served))

    assert (error.status_code, error.type, error.code) == (503, "overloaded_error", "upstream_unavailable")
    assert error.response.headers["x-should-retry"] == "true"


async def test_a_limit_that_is_used_up_is_a_rate_limit_error(ollama: FakeOllama) -> None:
    limit = {"rate_limit": {"requests_per_minute": 1}}
    async with serving(ollama.url, plugins=[AUTH, limit]) as served:
        async with client_for(served) as client:
            await client.chat.completions.create(model="llama3.2", messages=MESSAGES)
        error = await raised(client_for(served))

    assert isinstance(error, openai.RateLimitError)
    assert (error.type, error.code, error.param) == ("rate_limit_error", "rate_limit_exceeded", None)
    assert 1 <= int(error.response.headers["retry-after"]) <= 60
    assert 0 < float(error.response.headers["retry-after-ms"]) <= 60_000


async def test_c47_a_timeout_after_generation_began_is_not_tried_again(served: Served, ollama: FakeOllama) -> None:
    ollama.script(hang(), times=None)

    error = await raised(client_for(served, max_retries=2))

    assert error.response.headers["x-should-retry"] == "false"
    assert len(ollama.ledger.inference) == 1


async def test_c47_a_busy_ollama_is_asked_again_when_retry_after_says_so(served: Served, ollama: FakeOllama) -> None:
    ollama.next(fail(503, BUSY), say("There was a place."))
    advised: list[float] = []

    async def note(response: httpx2.Response) -> None:
        if response.status_code == 503:
            advised.append(float(response.headers["retry-after"]))

    began = time.monotonic()
    hooks = httpx2.AsyncClient(event_hooks={"response": [note]})
    async with client_for(served, max_retries=2, http_client=hooks) as client:
        answer = await client.chat.completions.create(model="llama3.2", messages=MESSAGES)

    assert answer.choices[0].message.content == "There was a place."
    assert len(ollama.ledger.inference) == 2
    assert time.monotonic() - began >= advised[0]


async def test_c47_a_limited_client_comes_back_when_it_may_and_gets_its_answer(ollama: FakeOllama) -> None:
    limit = {"rate_limit": {"requests_per_minute": 60, "burst": 1}}
    async with serving(ollama.url, plugins=[AUTH, limit]) as served, client_for(served, max_retries=2) as client:
        for _ in range(2):
            await client.chat.completions.create(model="llama3.2", messages=MESSAGES)

    assert len(ollama.ledger.inference) == 2
