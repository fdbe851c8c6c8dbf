"""Identical calls at work run once: what the plugin lets run together, and fifty callers through a whole gateway."""

import asyncio
import json
import random
from collections.abc import AsyncIterator

import pytest
from caching import CALL, DETERMINISTIC, STREAMED, STREAMED_DETERMINISTIC, Ollama, request, says, spin
from serving import AUTH, Served, chat_request, serving

from tornado_gateway.hookspecs import NativeCall, Outcome
from tornado_gateway.testing import FakeOllama, cut, say
from tornado_gateway_cache import Cache

Settings = Cache.Settings


async def test_identical_calls_at_work_run_once() -> None:
    ollama = Ollama(Cache(Settings()))
    ollama.gate.clear()
    calls = [DETERMINISTIC, STREAMED_DETERMINISTIC] * 25
    asking = [asyncio.get_running_loop().create_task(ollama.ask(call)) for call in calls]
    await spin(lambda: ollama.cache.joined == 49)

    ollama.gate.set()
    answers = await asyncio.gather(*asking)

    assert ollama.sent == 1
    assert {text for text, _ in answers} == {"Hello."}
    assert [says(context) for _, context in answers] == [("miss", "miss")] + [("joined", "miss")] * 49
    assert ollama.cache.stored == 1


@pytest.mark.parametrize(
    ("settings", "call", "sent"),
    [
        (Settings(coalesce=False), CALL, 2),
        (Settings(), CALL, 1),
        (Settings(), STREAMED, 2),
        (Settings(), STREAMED_DETERMINISTIC, 1),
        (Settings(apply_to="deterministic"), CALL, 2),
        (Settings(apply_to="deterministic"), DETERMINISTIC, 1),
        (Settings(apply_to="all"), STREAMED, 1),
    ],
)
async def test_what_runs_once_is_what_is_deterministic_or_kept(settings: Cache.Settings, call: NativeCall, sent: int) -> None:
    ollama = Ollama(Cache(settings))
    ollama.gate.clear()
    asking = [asyncio.get_running_loop().create_task(ollama.ask(call)) for _ in range(2)]
    await spin(lambda: ollama.sent == sent)
    for _ in range(5):
        await asyncio.sleep(0)

    ollama.gate.set()
    await asyncio.gather(*asking)

    assert ollama.sent == sent


async def test_tenants_never_share_a_generation() -> None:
    ollama = Ollama(Cache(Settings()))
    ollama.gate.clear()
    asking = [asyncio.get_running_loop().create_task(ollama.ask(tenant=name)) for name in ("ada", "bob")]

    await spin(lambda: ollama.sent == 2)

    ollama.gate.set()
    await asyncio.gather(*asking)


async def test_a_caller_whose_answers_are_kept_makes_a_shared_answer_kept() -> None:
    ollama = Ollama(Cache(Settings()))
    ollama.gate.clear()
    streamed = asyncio.get_running_loop().create_task(ollama.ask(STREAMED_DETERMINISTIC))
    await spin(lambda: ollama.sent == 1)
    whole = asyncio.get_running_loop().create_task(ollama.ask(DETERMINISTIC))
    await spin(lambda: ollama.cache.joined == 1)

    ollama.gate.set()
    await asyncio.gather(streamed, whole)

    assert ollama.cache.stored == 1


async def test_a_request_that_ends_leaves_its_generation_even_when_nobody_read_it() -> None:
    ollama = Ollama(Cache(Settings()))
    ollama.gate.clear()
    context = request()
    await ollama.cache.answer(context, CALL, lambda: ollama.forward(context, CALL))
    await spin(lambda: ollama.sent == 1)

    await ollama.cache.finished(context, Outcome("client_left", 499))

    assert len(ollama.cache._flights) == 0


async def test_no_cache_does_not_join_a_call_that_began_before() -> None:
    ollama = Ollama(Cache(Settings()))
    ollama.gate.clear()
    old = asyncio.get_running_loop().create_task(ollama.ask())
    await spin(lambda: ollama.sent == 1)
    fresh = asyncio.get_running_loop().create_task(ollama.ask(cache_control="no-cache"))
    await spin(lambda: ollama.sent == 2)

    ollama.gate.set()
    await asyncio.gather(old, fresh)


WORDS = "It is a truth universally acknowledged that a cache in possession of a good answer must be in want of a caller. "


@pytest.fixture
async def fake() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as running:
        yield running


@pytest.fixture
async def served(fake: FakeOllama) -> AsyncIterator[Served]:
    async with serving(fake.url, plugins=[AUTH, {"cache": {}}]) as running:
        yield running


async def ask(served: Served, *, stream: bool, **more: object) -> tuple[int, str, bytes]:
    """Status, `X-Cache` and the text of an answer that is whole; the text of one that is not is not looked at."""
    body = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hi"}], "stream": stream, **more}
    answer = await served.raw(chat_request(json.dumps(body).encode(), more="Connection: close\r\n"))
    head, _, rest = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    cache = next((line.split(": ")[1] for line in lines if line.lower().startswith("x-cache:")), "")
    status = int(lines[0].split()[1])
    if status != 200 or not stream:
        return status, cache, rest if status != 200 else json.loads(rest)["choices"][0]["message"]["content"].encode()
    if not rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
        return 0, cache, rest
    events = [json.loads(line[6:]) for line in rest.splitlines() if line.startswith(b"data: {")]
    return status, cache, "".join(event["choices"][0]["delta"].get("content") or "" for event in events).encode()


@pytest.mark.parametrize("seed", range(3))
async def test_fifty_identical_calls_with_leavers_are_one_dispatch_and_whole_for_every_stayer(
    served: Served, fake: FakeOllama, seed: int
) -> None:
    chance = random.Random(seed)
    fake.next(say(WORDS * 3, tokens_per_second=200))
    asking = [asyncio.get_running_loop().create_task(ask(served, stream=number % 2 == 0, seed=7)) for number in range(50)]
    leavers = chance.sample(asking, 20)
    await fake.ledger.wait_for(lambda ledger: ledger.inference)

    for task in leavers:  # the first caller is among them as often as not
        await asyncio.sleep(chance.random() / 50)
        task.cancel()
    answers = await asyncio.gather(*(task for task in asking if task not in leavers))

    assert {(status, text) for status, _, text in answers} == {(200, (WORDS * 3).encode())}
    assert len(fake.ledger.inference) == 1


async def test_the_first_caller_may_leave_and_the_last_one_stops_ollama(served: Served, fake: FakeOllama) -> None:
    fake.next(say(WORDS * 50, tokens_per_second=100))
    first = asyncio.get_running_loop().create_task(ask(served, stream=True, temperature=0))
    await fake.ledger.wait_for(lambda ledger: ledger.inference and ledger.last.records_sent > 1)
    second = asyncio.get_running_loop().create_task(ask(served, stream=True, temperature=0))
    cache = next(plugin for name, plugin in served.gateway.services.hooks._manager.list_name_plugin() if name == "cache")
    await spin(lambda: isinstance(cache, Cache) and cache.joined == 1)

    first.cancel()
    before = fake.ledger.last.records_sent
    await fake.ledger.wait_for(lambda ledger: ledger.last.records_sent > before + 2)
    second.cancel()

    await fake.ledger.wait_for(lambda ledger: ledger.last.left_at is not None)
    assert len(fake.ledger.inference) == 1


async def test_a_failure_of_ollama_reaches_every_caller_and_the_next_one_asks_anew(served: Served, fake: FakeOllama) -> None:
    """C24."""
    fake.next(cut(after_bytes=200, text=WORDS, first_byte_seconds=0.1))
    asking = [asyncio.get_running_loop().create_task(ask(served, stream=stream, seed=7)) for stream in (False, True, False)]
    answers = await asyncio.gather(*asking)

    status, cache, _ = await ask(served, stream=False, seed=7)

    assert [status for status, _, _ in answers] == [502, 502, 502]
    assert (status, cache) == (200, "miss")
    assert len(fake.ledger.inference) == 2
