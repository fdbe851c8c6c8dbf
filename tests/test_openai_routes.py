"""Completions, embeddings and models from the official client to a simulated Ollama and back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from serving import AUTH, KEY, Served, chat_request, serving

from tornado_gateway.testing import FakeModel, FakeOllama, error_line, fail, say

OVERFLOW = {
    "error": {
        "code": 400,
        "message": "request (3010 tokens) exceeds the available context size (512 tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 3010,
        "n_ctx": 512,
    }
}


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.fixture
async def served(ollama: FakeOllama) -> AsyncIterator[Served]:
    async with serving(ollama.url, plugins=[AUTH], limits={"embed_part": 2}) as running:
        yield running


@pytest.fixture
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=served.base_url, api_key=KEY, max_retries=0) as connected:
        yield connected


async def test_a_completion_gets_its_text(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(say("is Paris."))

    answer = await client.completions.create(model="llama3.2", prompt="The capital of France", max_tokens=5, echo=True)

    assert answer.choices[0].text == "The capital of Franceis Paris."
    assert answer.object == "text_completion"
    assert answer.usage
    assert ollama.ledger.last.path == "/api/generate"
    assert ollama.ledger.last.body["options"] == {"num_predict": 5}


async def test_a_streamed_completion_says_the_same_with_its_usage_at_the_end(
    client: openai.AsyncOpenAI, ollama: FakeOllama
) -> None:
    ollama.next(say("One two three."))

    stream = await client.completions.create(
        model="llama3.2", prompt="Count", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "One two three."
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


async def test_whatever_is_not_streamed_says_how_long_it_took(served: Served) -> None:
    post = chat_request(b'{"model":"llama3.2","messages":[{"role":"user","content":"x"}]}')
    get = "GET {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + KEY + "\r\n\r\n"

    answers = [
        await served.raw(request, until_close=False)
        for request in (post, get.format("/v1/models").encode(), get.format("/none").encode())
    ]

    assert all(b"\r\nServer-Timing: queue;dur=" in answer for answer in answers)


async def test_every_choice_of_every_prompt_is_one_call(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    answer = await client.completions.create(model="llama3.2", prompt=["a", "b"], n=2)

    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert sorted(request.body["prompt"] for request in ollama.ledger.inference) == ["a", "a", "b", "b"]


async def test_logprobs_come_in_the_older_shape(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(say("Hi there"))

    choice = (await client.completions.create(model="llama3.2", prompt="x", logprobs=2)).choices[0]

    assert choice.logprobs
    assert choice.logprobs.tokens
    assert choice.logprobs.token_logprobs
    assert "".join(choice.logprobs.tokens) == "Hi there"
    assert len(choice.logprobs.token_logprobs) == len(choice.logprobs.tokens)


async def test_a_suffix_for_a_model_that_cannot_fill_in_is_400_and_nothing_is_run(
    client: openai.AsyncOpenAI, ollama: FakeOllama
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.completions.create(model="llama3.2", prompt="def f(", suffix="return x")

    assert (caught.value.code, caught.value.param) == ("unsupported_value", "suffix")
    assert not ollama.ledger.inference


async def test_a_completion_that_breaks_off_is_raised_by_the_client(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(error_line(2, text="one two three four"))

    stream = await client.completions.create(model="llama3.2", prompt="x", stream=True)
    with pytest.raises(openai.APIError) as caught:
        _ = [chunk async for chunk in stream]

    assert caught.value.code == "upstream_error"


@pytest.mark.parametrize(
    ("status", "text", "raised", "code"),
    [
        (429, "too many concurrent requests", 503, "overloaded"),
        (503, "server busy, please try again.  maximum pending requests exceeded", 503, "overloaded"),
        (500, "an error was encountered while running the model: unexpected EOF", 502, "upstream_error"),
        (400, json.dumps(OVERFLOW), 400, "context_length_exceeded"),
        (500, "open /root/.ollama/models/blobs/sha256-00: permission denied", 502, "upstream_error"),
    ],
)
async def test_vector_89_a_failure_before_the_first_token_has_its_own_status(
    client: openai.AsyncOpenAI, ollama: FakeOllama, status: int, text: str, raised: int, code: str
) -> None:
    ollama.next(fail(status, text))

    with pytest.raises(openai.APIStatusError) as caught:
        await client.completions.create(model="llama3.2", prompt="x", stream=True)

    assert (caught.value.status_code, caught.value.code) == (raised, code)
    assert "/root" not in caught.value.message
    assert len(ollama.ledger.inference) == 1


async def test_a_prompt_that_is_too_long_names_the_prompt(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(fail(400, json.dumps(OVERFLOW)))

    with pytest.raises(openai.BadRequestError) as caught:
        await client.completions.create(model="llama3.2", prompt="x")

    assert caught.value.param == "prompt"
    assert "3010" in caught.value.message


async def test_both_encodings_give_the_same_vectors_in_order(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    texts = ["a", "b", "c", "", "a"]

    packed = await client.embeddings.create(model="all-minilm:l6", input=texts)
    plain = await client.embeddings.create(model="all-minilm:l6", input=texts, encoding_format="float")

    assert [one.index for one in packed.data] == [0, 1, 2, 3, 4]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, rel=1e-6)
    assert packed.data[0].embedding == packed.data[4].embedding
    assert packed.usage == plain.usage
    parts: list[Any] = [request.body["input"] for request in ollama.ledger.to("/api/embed")[:3]]
    assert sorted(map(len, parts)) == [1, 2, 2]


async def test_a_chat_model_does_not_embed_and_is_not_loaded_for_it(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.embeddings.create(model="llama3.2", input="x")

    assert (caught.value.code, caught.value.param) == ("unsupported_value", "model")
    assert not ollama.ledger.inference


async def test_a_text_that_is_too_long_to_embed_names_the_input(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(fail(400, "the input length exceeds the context length"))

    with pytest.raises(openai.BadRequestError) as caught:
        await client.embeddings.create(model="all-minilm:l6", input="x")

    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")


async def test_ignored_fields_are_named_in_the_header(client: openai.AsyncOpenAI) -> None:
    raw = await client.completions.with_raw_response.create(
        model="llama3.2", prompt="x", logit_bias={"1": 1}, extra_body={"options": {"num_ctx": 9}, "keep_alive": -1}
    )

    assert raw.headers["x-ignored-params"] == "logit_bias,options.num_ctx,keep_alive"


async def test_an_id_with_a_namespace_is_found_as_it_is_and_percent_encoded(
    client: openai.AsyncOpenAI, served: Served, ollama: FakeOllama
) -> None:
    ollama.add_model(FakeModel("ada/poet:7b"))

    encoded = await client.models.retrieve("ada/poet:7b")
    head = f"GET /v1/models/ada/poet:7b HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
    plain = json.loads((await served.raw(head.encode())).partition(b"\r\n\r\n")[2])

    assert (encoded.id, encoded.owned_by, encoded.object) == ("ada/poet:7b", "ada", "model")
    assert plain == encoded.to_dict()
    assert encoded.created > 1_500_000_000


@pytest.mark.parametrize("more", [{}, {"stop": "a"}])
async def test_what_the_operator_fixed_does_not_depend_on_what_else_is_asked(ollama: FakeOllama, more: dict[str, Any]) -> None:
    ollama.add_model(FakeModel("quiet", stop=("<|end|>",)))
    defaults = {"quiet": {"think": True, "options": {"stop": ["XX"]}}}
    async with (
        serving(ollama.url, models={"defaults": defaults}) as running,
        openai.AsyncOpenAI(base_url=running.base_url, api_key=KEY, max_retries=0) as client,
    ):
        await client.chat.completions.create(model="quiet", messages=[{"role": "user", "content": "Hi"}], **more)

    sent = ollama.ledger.last.body
    assert "think" not in sent
    assert sent["options"]["stop"] == [more.get("stop", "XX"), "<|end|>"]


@pytest.mark.parametrize("kind", ["option", "arguments", "schema"])
async def test_however_deep_a_body_is_nested_it_is_answered_or_refused(served: Served, kind: str) -> None:
    """There is a depth that can just be read, and at which what is done with it goes a step deeper."""
    for depth in range(930, 1010):
        deep = "[" * depth + "]" * depth
        more = {
            "option": f'"options":{{"foo":{deep}}}',
            "arguments": '"n":2',
            "schema": f'"format":{{"$defs":{{"A":{{"enum":{deep}}}}},"properties":{{"a":{{"$ref":"#/$defs/A"}}}}}}',
        }[kind]
        call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": f'{{"a":{deep}}}'}}
        calls = f',{{"role":"assistant","tool_calls":[{json.dumps(call)}]}}' if kind == "arguments" else ""
        body = f'{{"model":"llama3.2","messages":[{{"role":"user","content":"Hi"}}{calls}],{more}}}'

        answer = await served.raw(chat_request(body.encode(), more="Connection: close\r\n"))

        assert b"internal_error" not in answer, depth
