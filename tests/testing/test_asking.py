"""Whatever is asked of a model, there is an answer in Ollama's form."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rawpeer import call, chat

from tornado_gateway.testing import DEFAULT_MODELS, FakeModel, FakeOllama, RequestEntry
from tornado_gateway.testing.http import Request
from tornado_gateway.testing.replies import Reply
from tornado_gateway.testing.routes import Routes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
    | st.sampled_from(["user", "tool", "json", "object", "array", "string", "integer", "#", "5m", "high", "get_weather"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            [
                "role", "content", "images", "tool_calls", "function", "name", "arguments", "parameters", "type", "properties", "required",
                "enum", "items", "anyOf", "allOf", "$ref", "const", "minItems", "minimum", "maxLength", "format", "stop", "num_predict",
                "num_ctx", "seed", "temperature", "a",
            ]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
FIELDS = [
    "messages", "tools", "format", "options", "think", "keep_alive", "stream", "prompt", "suffix", "raw", "input", "dimensions",
    "logprobs", "top_logprobs", "truncate", "shift", "images", "context", "system",
]  # fmt: skip
MODELS = [model.name for model in DEFAULT_MODELS]


@given(
    st.sampled_from(["/api/chat", "/api/generate", "/api/embed", "/api/show"]),
    st.fixed_dictionaries({"model": st.sampled_from(MODELS)}, optional=dict.fromkeys(FIELDS, JSON)),
)
def test_any_body_gets_an_answer_or_an_error_of_ollamas(path: str, body: dict[str, Any]) -> None:
    routes = Routes(FakeOllama()._house)
    entry = RequestEntry(1, 1, "POST", path, {}, b"", 0.0)

    reply = routes.serve(Request("POST", path, {"host": "localhost"}, json.dumps(body).encode(), keep_alive=True), entry)

    data = b"".join(step[1] for step in cast(Reply, reply).steps)
    assert cast(Reply, reply).status in {200, 400, 404, 500, 501}
    assert data.startswith(b"HTTP/1.1 ")
    assert cast(Reply, reply).whole


async def test_a_picture_counts_among_the_prompts_tokens() -> None:
    body = {"model": "llava", "messages": [{"role": "user", "content": "?", "images": ["aGk="]}], "stream": False}
    async with FakeOllama() as ollama:
        assert (await call(ollama.port, "POST", "/api/chat", body)).json()["prompt_eval_count"] == 266


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"prompt": "x", "raw": True, "system": "y"}, "raw mode does not support template, system, or context"),
        ({"prompt": "x", "suffix": "y"}, "registry.ollama.ai/library/llama3.2:latest does not support insert"),
        ({"prompt": "x", "think": "low"}, '"llama3.2" does not support thinking'),
    ],
)
async def test_what_generate_cannot_do_it_says(body: dict[str, Any], text: str) -> None:
    async with FakeOllama() as ollama:
        answer = await call(ollama.port, "POST", "/api/generate", {"model": "llama3.2", **body})

    assert (answer.status, answer.json()) == (400, {"error": text})


async def test_a_missing_ability_is_told_before_thinking() -> None:
    async with FakeOllama([FakeModel("plain")]) as ollama:
        answer = await call(ollama.port, "POST", "/api/chat", chat(model="plain", tools=[{}], think=True))

    assert answer.json() == {"error": "registry.ollama.ai/library/plain:latest does not support tools"}
