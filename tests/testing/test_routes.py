"""Routes, doors and names, and connections that carry more than one request."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from rawpeer import call, chat

from tornado_gateway.testing import FakeModel, FakeOllama


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/", 200),
        ("HEAD", "/api/tags", 200),
        ("HEAD", "/api/version", 200),
        ("GET", "/api/tags?x=1", 200),
        ("HEAD", "/api/chat", 405),
        ("GET", "/api/tags/", 301),
        ("POST", "/api/chat/", 307),
        ("GET", "/API/tags", 404),
        ("POST", "/api/pull", 404),
        ("POST", "/control/next", 404),
    ],
)
async def test_each_route_answers_its_methods(ollama: FakeOllama, method: str, path: str, status: int) -> None:
    assert (await call(ollama.port, method, path)).status == status


@pytest.mark.parametrize(
    ("endpoint", "name", "status", "text"),
    [
        ("/api/chat", "nope", 404, "model 'nope' not found"),
        ("/api/chat", "Nope:7b", 404, "model 'Nope:7b' not found"),
        ("/api/generate", "", 404, "model '' not found"),
        ("/api/embed", "", 404, "model '' not found"),
        ("/api/embed", "nope", 404, 'model "nope" not found, try pulling it first'),
        ("/api/show", "nope", 404, "model 'nope:latest' not found"),
        ("/api/show", "x:cloud", 403, "ollama cloud is disabled: remote model details are unavailable"),
        ("/api/generate", "x:120b-cloud", 403, "ollama cloud is disabled: remote model is unavailable"),
        ("/api/generate", "all-minilm:l6", 400, '"all-minilm:l6" does not support generate'),
        ("/api/embed", "a//b", 400, "invalid model name"),
    ],
)
async def test_each_endpoint_has_its_own_words(ollama: FakeOllama, endpoint: str, name: str, status: int, text: str) -> None:
    body = {"model": name, "messages": [{"role": "user", "content": "x"}], "prompt": "x", "input": "x"}

    answer = await call(ollama.port, "POST", endpoint, body)

    assert (answer.status, answer.json()) == (status, {"error": text})


@pytest.mark.parametrize(
    "name", ["llama3.2", "LLAMA3.2:Latest", " llama3.2 ", "library/llama3.2", "registry.ollama.ai/library/llama3.2:latest"]
)
async def test_a_name_is_found_however_it_is_spelled_and_echoed_as_sent(ollama: FakeOllama, name: str) -> None:
    answer = await call(ollama.port, "POST", "/api/chat", chat(model=name, stream=False))

    assert (answer.status, answer.json()["model"]) == (200, name)


async def test_capabilities_are_asked_with_the_full_name(ollama: FakeOllama) -> None:
    ollama.add_model(FakeModel("hf.co/owner/model:q4"))
    ollama.add_model(FakeModel("owner/model"))

    async def error(name: str) -> str:
        text: str = (await call(ollama.port, "POST", "/api/chat", chat(model=name, tools=[{"type": "function"}]))).json()[
            "error"
        ]
        return text

    assert await error("hf.co/owner/model:q4") == "hf.co/owner/model:q4 does not support tools"
    assert await error("owner/model") == "registry.ollama.ai/owner/model:latest does not support tools"


async def test_what_the_runner_refuses_is_framed_as_a_stream_when_one_was_asked_for(ollama: FakeOllama) -> None:
    body: dict[str, Any] = {"model": "llama3.2", "messages": [{"role": "user", "content": "x", "images": [""]}]}

    streamed = await call(ollama.port, "POST", "/api/chat", body)
    whole = await call(ollama.port, "POST", "/api/chat", {**body, "stream": False})

    assert (streamed.status, streamed.headers["content-type"]) == (400, "application/json")
    assert streamed.headers["transfer-encoding"] == "chunked"
    assert whole.headers["content-type"] == "application/json; charset=utf-8"


async def test_a_remote_model_is_served_when_the_cloud_is_on() -> None:
    model = FakeModel("gpt-oss:120b-cloud", remote_host="https://ollama.com:443", remote_model="gpt-oss:120b")
    async with FakeOllama([model], cloud=True) as ollama:
        record = (await call(ollama.port, "POST", "/api/chat", chat(model=model.name, stream=False))).json()

    assert (record["remote_model"], record["remote_host"]) == ("gpt-oss:120b", "https://ollama.com:443")
