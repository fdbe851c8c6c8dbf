"""Places at Ollama through a whole gateway: how many run at once, who is refused, and that every place comes back."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from serving import AUTH, Served, chat_request, serving

from tornado_gateway.testing import FakeOllama, cut, fail, say


@pytest.fixture
async def fake() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as running:
        yield running


async def ask(served: Served, **more: Any) -> tuple[int, dict[str, str], bytes]:
    body = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hi"}], **more}
    answer = await served.raw(chat_request(json.dumps(body).encode(), more="Connection: close\r\n"))
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), {line.split(": ")[0].lower(): line.split(": ")[1] for line in lines}, rest


async def test_three_hundred_callers_at_four_places_after_every_mix_of_endings(fake: FakeOllama) -> None:
    """C45: 4 at Ollama at most, 16 in line, the rest told to come back; and no place is lost on the way."""
    chance = random.Random(45)
    settings = {"requests_per_minute": None, "max_concurrent": 4, "max_wait_seconds": 2}
    for _ in range(40):
        fake.next(chance.choice([say("Hello."), say("Hello.", tokens_per_second=100), fail(), cut(after_bytes=100)]))
    async with serving(
        fake.url,
        plugins=[AUTH, {"rate_limit": settings}],
        server={"max_connections": 4096, "max_connections_per_address": 4096},
    ) as served:
        asking = [asyncio.get_running_loop().create_task(ask(served, stream=chance.random() < 0.5)) for _ in range(300)]
        leavers = chance.sample(asking, 30)
        await fake.ledger.wait_for(lambda ledger: ledger.inference)
        for task in leavers:
            task.cancel()
        answers = await asyncio.gather(*(task for task in asking if task not in leavers))
        last = await asyncio.gather(*(ask(served) for _ in range(4)))

    statuses = Counter(status for status, _, _ in answers)
    refused = [(headers, body) for status, headers, body in answers if status == 429]
    assert fake.ledger.max_in_flight <= 4
    assert statuses[429] > 100
    assert set(statuses) <= {200, 429, 502}
    assert all(int(headers["retry-after"]) >= 1 for headers, _ in refused)
    assert {json.loads(body)["error"]["code"] for _, body in refused} == {"concurrency_limit"}
    assert [status for status, _, _ in last] == [200] * 4


async def test_an_answer_from_the_cache_takes_no_place(fake: FakeOllama) -> None:
    limits = {"requests_per_minute": None, "max_concurrent": 1, "max_waiting": 0}
    async with serving(fake.url, plugins=[AUTH, {"rate_limit": limits}, {"cache": {}}]) as served:
        await ask(served)
        fake.next(say("Long.", first_byte_seconds=30))
        busy = asyncio.get_running_loop().create_task(ask(served, max_tokens=5))
        await fake.ledger.wait_for(lambda ledger: len(ledger.inference) == 2)

        known, headers, _ = await ask(served)
        unknown, _, _ = await ask(served, max_tokens=6)
        busy.cancel()

    assert (known, headers["x-cache"], unknown) == (200, "hit", 429)


async def test_choices_of_one_request_take_turns_at_the_only_place(fake: FakeOllama) -> None:
    limits = {"requests_per_minute": None, "max_concurrent": 1, "max_waiting": 0}
    async with serving(fake.url, plugins=[AUTH, {"rate_limit": limits}]) as served:
        status, _, body = await ask(served, n=3)

    assert (status, len(json.loads(body)["choices"])) == (200, 3)
    assert fake.ledger.max_in_flight == 1


async def test_tokens_are_settled_with_what_ollama_counted(fake: FakeOllama) -> None:
    limits = {"tokens_per_minute": 100_000}
    async with serving(fake.url, plugins=[AUTH, {"rate_limit": limits}]) as served:
        fake.next(say("Hello.", prompt_tokens=40_000, eval_tokens=20_000))
        await ask(served)
        fake.next(fail())
        await ask(served)
        _, headers, _ = await ask(served)

    remaining = int(headers["x-ratelimit-remaining-tokens"])
    assert 39_000 < remaining < 40_000 + 100_000 * 10 // 60  # ten seconds of this test at most


async def test_a_caller_over_the_limit_is_told_when_to_come_back(fake: FakeOllama) -> None:
    async with serving(fake.url, plugins=[AUTH, {"rate_limit": {"requests_per_minute": 1}}]) as served:
        first, _, _ = await ask(served)
        second, headers, body = await ask(served)

    assert (first, second) == (200, 429)
    assert int(headers["retry-after"]) in {59, 60}
    assert 58_000 < int(headers["retry-after-ms"]) <= 60_000
    assert headers["x-should-retry"] == "true"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
