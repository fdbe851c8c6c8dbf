"""What openai-python builds on top of the wire, against the gateway: `.parse()`, the streaming helper, sync and async."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel
from serving import KEY, Served, serving

from tornado_gateway.testing import Behaviour, FakeOllama, error_line, say

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
CALLS = Behaviour(
    text="Let me look. ",
    tool_calls=({"name": "Weather", "arguments": {"city": "Oslo"}}, {"name": "Weather", "arguments": {"city": "Rome"}}),
)


class Step(BaseModel):
    explanation: str
    unit: Literal["c", "f"]


class Solution(BaseModel):
    steps: list[Step]
    answer: int


class Weather(BaseModel):
    """The weather of a city."""

    city: str


TOOLS = [openai.pydantic_function_tool(Weather)]


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


async def test_parse_gives_a_value_of_the_model(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    answer = await client.chat.completions.parse(model="llama3.2", messages=MESSAGES, response_format=Solution)

    assert isinstance(answer.choices[0].message.parsed, Solution)
    assert "$ref" not in str(ollama.ledger.inference[-1].body["format"])


async def test_parse_reads_the_arguments_of_calls(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(CALLS)

    answer = await client.chat.completions.parse(model="llama3.2", messages=MESSAGES, tools=TOOLS)

    calls = answer.choices[0].message.tool_calls or []
    assert [call.function.parsed_arguments for call in calls] == [Weather(city="Oslo"), Weather(city="Rome")]
    assert answer.choices[0].message.content == "Let me look. "


async def test_parse_reads_a_call_that_was_forced(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(
        model="llama3.2", messages=MESSAGES, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "Weather"}}
    )

    (call,) = answer.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, Weather)


async def test_an_answer_that_the_limit_cut_is_not_parsed(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(say('{"steps": [', done_reason="length"))

    with pytest.raises(openai.LengthFinishReasonError):
        await client.chat.completions.parse(model="llama3.2", messages=MESSAGES, response_format=Solution)


async def test_the_stream_helper_tells_text_and_the_parsed_value(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model="llama3.2", messages=MESSAGES, response_format=Solution) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_completion()

    text = "".join(event.delta for event in events if event.type == "content.delta")
    (done,) = [event for event in events if event.type == "content.done"]
    assert isinstance(done.parsed, Solution)
    assert (done.content, final.choices[0].message.content) == (text, text)
    assert final.choices[0].message.parsed == done.parsed


async def test_the_stream_helper_tells_each_call_and_its_arguments(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(CALLS)

    async with client.chat.completions.stream(model="llama3.2", messages=MESSAGES, tools=TOOLS) as stream:
        done = [event async for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = await stream.get_final_completion()

    assert [(event.index, event.name, event.parsed_arguments) for event in done] == [
        (0, "Weather", Weather(city="Oslo")),
        (1, "Weather", Weather(city="Rome")),
    ]
    assert final.choices[0].finish_reason == "tool_calls"
    calls = final.choices[0].message.tool_calls or []
    assert len({call.id for call in calls}) == 2
    assert [call.function.parsed_arguments for call in calls] == [Weather(city="Oslo"), Weather(city="Rome")]


async def test_the_stream_helper_tells_logprobs(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(say("one two three"))

    async with client.chat.completions.stream(model="llama3.2", messages=MESSAGES, logprobs=True, top_logprobs=2) as stream:
        deltas = [entry.token async for event in stream if event.type == "logprobs.content.delta" for entry in event.content]
        final = await stream.get_final_completion()

    assert "".join(deltas) == "one two three"
    assert final.choices[0].logprobs is not None
    assert [entry.token for entry in final.choices[0].logprobs.content or []] == deltas


async def test_the_stream_helper_keeps_usage_and_thoughts(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(say("It is 4.", thinking="Two and two.", prompt_tokens=7, eval_tokens=9))

    async with client.chat.completions.stream(
        model="qwen3", messages=MESSAGES, stream_options={"include_usage": True}
    ) as stream:
        final = await stream.get_final_completion()

    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens, final.usage.total_tokens) == (7, 9, 16)
    assert final.choices[0].message.content == "It is 4."
    assert final.choices[0].message.role == "assistant"
    assert final.choices[0].message.to_dict()["reasoning"] == "Two and two."


async def test_c19_the_stream_helper_raises_in_mid_stream(client: openai.AsyncOpenAI, ollama: FakeOllama) -> None:
    ollama.next(error_line(2, text="one two three four"))

    with pytest.raises(openai.APIError) as caught:
        async with client.chat.completions.stream(model="llama3.2", messages=MESSAGES) as stream:
            await stream.get_final_completion()

    assert caught.value.code == "upstream_error"


async def test_the_synchronous_helpers_do_the_same(served: Served, ollama: FakeOllama) -> None:
    ollama.script(CALLS, text="tools")

    def talk() -> tuple[Any, Any, Any]:
        with openai.OpenAI(base_url=served.base_url, api_key=KEY, max_retries=0) as client:
            chat = client.chat.completions
            parsed = chat.parse(model="llama3.2", messages=MESSAGES, response_format=Solution)
            with chat.stream(model="llama3.2", messages=MESSAGES, response_format=Solution) as stream:
                streamed = stream.get_final_completion()
            asked: Any = [{"role": "user", "content": "tools"}]
            with chat.stream(model="llama3.2", messages=asked, tools=TOOLS) as stream:
                called = stream.get_final_completion()
            return parsed.choices[0].message.parsed, streamed.choices[0].message.parsed, called.choices[0].message

    parsed, streamed, called = await asyncio.to_thread(talk)

    assert isinstance(parsed, Solution)
    assert isinstance(streamed, Solution)
    assert [call.function.parsed_arguments.city for call in called.tool_calls] == ["Oslo", "Rome"]
