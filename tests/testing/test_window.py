"""Prompts over the window of the context."""

from collections.abc import AsyncIterator

import pytest
from rawpeer import call, chat

from tornado_gateway.testing import FakeOllama


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


async def test_old_messages_are_dropped_until_the_rest_fits(ollama: FakeOllama) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "word " * 600},
        {"role": "user", "content": "Hello"},
    ]
    body = {"model": "llama3.2", "messages": messages, "stream": False, "options": {"num_ctx": 512}}

    assert (await call(ollama.port, "POST", "/api/chat", body)).json()["prompt_eval_count"] == 3 + 9 + 7


async def test_a_long_prompt_that_may_not_shift_is_refused(ollama: FakeOllama) -> None:
    body = chat("word " * 600, options={"num_ctx": 512}, shift=False)

    found = await call(ollama.port, "POST", "/api/chat", body)

    assert found.status == 400
    assert found.json()["error"].startswith("the prompt is longer than the context length currently available")
