"""What models answer within the limits that Ollama keeps."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from rawpeer import Answer, call, chat

from tornado_gateway.testing import FakeOllama, say

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
            "required": ["city"],
        },
    },
}


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


async def answer(ollama: FakeOllama, text: str = "Hello", **more: Any) -> dict[str, Any]:
    record: dict[str, Any] = (await asked(ollama, text, stream=False, **more)).json()
    return record


async def asked(ollama: FakeOllama, text: str = "Hello", **more: Any) -> Answer:
    found = await call(ollama.port, "POST", "/api/chat", chat(text, **more))
    assert found.status == 200, found.body
    return found


async def test_a_stop_sequence_ends_the_text_and_is_no_part_of_it(ollama: FakeOllama) -> None:
    ollama.script(say("one, two, three"), times=None)

    whole = await answer(ollama, options={"stop": ["three", ", t"]})
    streamed = await asked(ollama, options={"stop": [" two"]})

    assert (whole["message"]["content"], whole["done_reason"]) == ("one", "stop")
    assert streamed.text() == "one,"


async def test_an_empty_stop_sequence_stops_at_once(ollama: FakeOllama) -> None:
    record = await answer(ollama, options={"stop": [""]})

    assert (record["message"]["content"], record["eval_count"]) == ("", 1)


@pytest.mark.parametrize(
    ("limit", "reason", "count"), [(2, "length", 2), (3, "length", 3), (4, "stop", 4), (0, "stop", 4), (-1, "stop", 4)]
)
async def test_num_predict_is_kept(ollama: FakeOllama, limit: int, reason: str, count: int) -> None:
    ollama.next(say("one two three"))

    record = await answer(ollama, options={"num_predict": limit})

    assert (record["done_reason"], record["eval_count"]) == (reason, count)


async def test_the_same_request_gets_the_same_answer_when_it_is_repeatable(ollama: FakeOllama) -> None:
    async def said(**options: Any) -> str:
        text: str = (await answer(ollama, "Tell me about tides", options=options))["message"]["content"]
        return text

    assert await said(temperature=0) == await said(temperature=0)
    assert await said(seed=5) == await said(seed=5)
    assert len({await said(seed=seed) for seed in range(8)}) > 1
    assert len({await said() for _ in range(8)}) > 1


async def test_a_tool_is_called_when_the_message_asks_for_it(ollama: FakeOllama) -> None:
    record = await answer(ollama, "What is the weather in Paris?", tools=[WEATHER])

    (made,) = record["message"]["tool_calls"]
    assert made["function"] == {"index": 0, "name": "get_weather", "arguments": {"city": "Paris"}}
    assert record["message"]["content"] == ""
    assert made["id"].startswith("call_")
    assert len(made["id"]) == 13


async def test_two_places_are_two_calls_each_in_its_record(ollama: FakeOllama) -> None:
    found = await asked(ollama, "What is the weather in Paris and Rome?", tools=[WEATHER])

    calls = [record["message"].get("tool_calls") for record in found.records()]
    assert [made[0]["function"]["index"] for made in calls[:-1]] == [0, 1]
    assert calls[0][0]["id"] != calls[1][0]["id"]
    assert calls[-1] is None


async def test_small_talk_calls_no_tool(ollama: FakeOllama) -> None:
    assert "tool_calls" not in (await answer(ollama, "Hello", tools=[WEATHER]))["message"]


async def test_after_a_result_the_model_speaks_of_it(ollama: FakeOllama) -> None:
    history = [
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]},
        {"role": "tool", "tool_name": "get_weather", "content": "20 C and sunny"},
    ]

    record = (
        await call(ollama.port, "POST", "/api/chat", {**chat(), "messages": history, "tools": [WEATHER], "stream": False})
    ).json()

    assert "20 C and sunny" in record["message"]["content"]
    assert "tool_calls" not in record["message"]


async def test_a_thinking_model_thinks_first_unless_it_is_told_not_to(ollama: FakeOllama) -> None:
    found = await asked(ollama, "2+2?", model="qwen3")
    kinds = ["thinking" if "thinking" in record["message"] else "content" for record in found.records()]

    assert kinds == sorted(kinds, reverse=True)
    assert kinds[0] == "thinking"
    assert "thinking" not in (await answer(ollama, "2+2?", model="qwen3", think=False))["message"]
    assert "thinking" not in (await answer(ollama, "2+2?", think=False))["message"]


async def test_thoughts_come_before_json_too(ollama: FakeOllama) -> None:
    message = (
        await answer(ollama, "Paris", model="qwen3", format={"type": "object", "properties": {"city": {"type": "string"}}})
    )["message"]

    assert message["thinking"]
    assert message["content"] == '{\n  "city": "Paris"\n}'


async def test_logprobs_come_with_each_piece_and_all_together(ollama: FakeOllama) -> None:
    ollama.script(say("one two"), times=None)

    records = (await asked(ollama, logprobs=True, top_logprobs=3)).records()
    whole = await answer(ollama, logprobs=True)

    assert [len(record["logprobs"][0]["top_logprobs"]) for record in records[:-1]] == [3, 3]
    assert "logprobs" not in records[-1]
    assert [entry["token"] for entry in whole["logprobs"]] == ["one", " two"]
    assert "top_logprobs" not in whole["logprobs"][0]


async def test_pictures_and_sounds_are_for_models_that_take_them(ollama: FakeOllama) -> None:
    async def status(model: str, data: str) -> int:
        body = {"model": model, "messages": [{"role": "user", "content": "?", "images": [data]}], "stream": False}
        return (await call(ollama.port, "POST", "/api/chat", body)).status

    picture, sound = "iVBORw0KGgo=", "UklGRgAAAABXQVZF"
    assert [await status(model, picture) for model in ("llama3.2", "llava", "gemma3n")] == [400, 200, 200]
    assert [await status(model, sound) for model in ("llama3.2", "llava", "gemma3n")] == [400, 400, 200]


async def test_generate_carries_its_context_on(ollama: FakeOllama) -> None:
    body = {"model": "llama3.2", "prompt": "Hello", "stream": False}
    first = (await call(ollama.port, "POST", "/api/generate", body)).json()
    second = (await call(ollama.port, "POST", "/api/generate", {**body, "context": first["context"]})).json()

    assert second["context"][: len(first["context"])] == first["context"]
    assert second["prompt_eval_count"] > first["prompt_eval_count"]
