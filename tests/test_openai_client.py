"""The official client, pointed at the gateway with nothing but `base_url` and a key."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from serving import KEY, Served, serving

from tornado_gateway.testing import FakeOllama, error_line, fail, say

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.fixture
async def served(ollama: FakeOllama) -> AsyncIterator[Served]:
    async with serving(ollama.url) as running:
        yield running


@pytest.fixture
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=served.base_url, api_key=KEY, max_retries=0) as connected:
        yield connected


async def test_a_chat_gets_its_answer(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(say("Hello there!"))

    answer = await client.chat.completions.create(model="llama3.2", messages=MESSAGES)

    assert answer.choices[0].message.content == "Hello there!"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.model == "llama3.2"


async def test_a_streamed_chat_says_the_same(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(say("Hello there, how are you?"))

    stream = await client.chat.completions.create(
        model="llama3.2",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello there, how are you?"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len({chunk.id for chunk in chunks}) == 1


async def test_the_synchronous_client_works_as_well(served: Served, ollama: FakeOllama) -> None:
    ollama.next(say("One."))
    ollama.next(say("Two words."))

    def talk() -> tuple[str | None, str]:
        with openai.OpenAI(base_url=served.base_url, api_key=KEY, max_retries=0) as client:
            once = client.chat.completions.create(model="llama3.2", messages=MESSAGES)
            stream = client.chat.completions.create(model="llama3.2", messages=MESSAGES, stream=True)
            return once.choices[0].message.content, "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert await asyncio.to_thread(talk) == ("One.", "Two words.")


async def test_raw_responses_carry_the_request_id(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model="llama3.2",
        messages=MESSAGES,
        logit_bias={"1": 1},
        extra_headers={"X-Request-Id": "mine-1"},
    )

    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.headers["x-ignored-params"] == "logit_bias"
    assert "server" not in raw.headers
    assert raw.parse().choices[0].message.content


async def test_the_alias_of_the_older_program_leads_to_a_model(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    answer = await client.chat.completions.create(model="gpt-3.5-turbo", messages=MESSAGES)

    assert answer.model == "gpt-3.5-turbo"
    assert ollama.ledger.inference[-1].model == "llama3.2:latest"


async def test_models_are_listed_and_found(client: openai.AsyncOpenAI) -> None:
    listed = [model.id async for model in client.models.list()]

    assert "llama3.2:latest" in listed
    assert "gpt-3.5-turbo" in listed
    assert (await client.models.retrieve("llama3.2:latest")).id == "llama3.2:latest"
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("nope")
    assert caught.value.code == "model_not_found"


async def test_an_unknown_model_is_a_404_that_helps(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="gpt-9", messages=MESSAGES)

    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert "llama3.2" in str(caught.value)
    assert "ollama pull gpt-9" in str(caught.value)
    assert not ollama.ledger.inference


async def test_a_wrong_key_is_an_authentication_error(served: Served, ollama: FakeOllama) -> None:
    async with openai.AsyncOpenAI(base_url=served.base_url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model="llama3.2", messages=MESSAGES)

    assert caught.value.code == "invalid_api_key"
    assert not ollama.ledger.requests


async def test_a_dead_runner_is_a_502_and_not_tried_again(served: Served, ollama: FakeOllama) -> None:
    ollama.next(fail())

    async with openai.AsyncOpenAI(base_url=served.base_url, api_key=KEY, max_retries=2) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="llama3.2", messages=MESSAGES, stream=True)

    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_error"
    assert len(ollama.ledger.inference) == 1


async def test_c19_an_error_in_mid_stream_is_raised_by_the_client(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(error_line(2, text="one two three four"))
    heard = ""

    stream = await client.chat.completions.create(model="llama3.2", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError) as caught:
        async for chunk in stream:
            heard += chunk.choices[0].delta.content or ""

    assert heard
    assert caught.value.code == "upstream_error"


async def test_embeddings_come_as_the_client_asks_for_them(client: openai.AsyncOpenAI) -> None:
    vectors = await client.embeddings.create(model="nomic-embed-text", input=["a cat", "a dog"])
    floats = await client.embeddings.create(model="nomic-embed-text", input=["a cat", "a dog"], encoding_format="float")

    assert [item.index for item in vectors.data] == [0, 1]
    assert vectors.data[1].embedding == pytest.approx(floats.data[1].embedding, abs=1e-6)


async def test_completions_get_text(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(say("upon a time"))

    answer = await client.completions.create(model="llama3.2", prompt="Once")

    assert answer.choices[0].text == "upon a time"
