"""Loads, slots and lines, as those who wait for them see it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from rawpeer import Peer, call, chat

from tornado_gateway.testing import Behaviour, FakeOllama, hang, say

MODELS_LOADED = "/api/ps"


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama(num_parallel=1, max_queue=1) as fake:
        yield fake


async def loaded(ollama: FakeOllama) -> list[str]:
    answer = await call(ollama.port, "GET", MODELS_LOADED)
    return [model["name"] for model in answer.json()["models"]]


async def seen(ollama: FakeOllama, number: int) -> None:
    await ollama.ledger.wait_for(lambda ledger: ledger.requests_seen == number)


async def test_a_model_is_loaded_once_and_shown(ollama: FakeOllama) -> None:
    assert await loaded(ollama) == []

    for _ in range(2):
        await call(ollama.port, "POST", "/api/chat", chat())

    assert await loaded(ollama) == ["llama3.2:latest"]
    assert [load.model for load in ollama.ledger.loads] == ["llama3.2:latest"]


async def test_a_load_takes_its_time_before_the_first_byte_and_is_reported(ollama: FakeOllama) -> None:
    ollama.defaults = say("Hi.", load_seconds=0.03)

    cold = await call(ollama.port, "POST", "/api/chat", chat())
    warm = await call(ollama.port, "POST", "/api/chat", chat())

    assert cold.records()[-1]["load_duration"] > 25_000_000
    assert warm.records()[-1]["load_duration"] < 5_000_000


async def test_another_window_loads_the_model_anew_and_so_does_going_back(ollama: FakeOllama) -> None:
    for options in ({}, {"num_ctx": 512}, {"num_ctx": 512, "seed": 3}, {}):
        await call(ollama.port, "POST", "/api/chat", chat(options=options))

    assert [load.options["num_ctx"] for load in ollama.ledger.loads] == [4096, 512, 4096]


@pytest.mark.parametrize("keep_alive", [0, "0", "0s"])
async def test_keep_alive_of_nothing_unloads_after_the_answer(ollama: FakeOllama, keep_alive: object) -> None:
    await call(ollama.port, "POST", "/api/chat", chat(keep_alive=keep_alive))

    assert await loaded(ollama) == []


async def test_no_messages_load_and_unload(ollama: FakeOllama) -> None:
    load = await call(ollama.port, "POST", "/api/chat", {"model": "llama3.2", "messages": []})
    assert load.json()["done_reason"] == "load"
    assert await loaded(ollama) == ["llama3.2:latest"]

    unload = await call(ollama.port, "POST", "/api/generate", {"model": "llama3.2", "keep_alive": 0})
    assert unload.json()["done_reason"] == "unload"
    assert await loaded(ollama) == []


async def test_a_model_expires_unless_it_is_kept_for_ever(ollama: FakeOllama) -> None:
    await call(ollama.port, "POST", "/api/chat", chat(keep_alive="1ns"))
    await call(ollama.port, "POST", "/api/chat", chat(model="llava", keep_alive=-1))

    assert await loaded(ollama) == ["llava:latest"]


async def test_beyond_the_slots_requests_wait_in_silence_in_order(ollama: FakeOllama) -> None:
    ollama.next(hang(after_records=1), say("second"), say("third"))

    async with Peer(ollama.port) as first, Peer(ollama.port) as second, Peer(ollama.port) as third:
        for number, peer in enumerate((first, second, third), 1):
            peer.ask("POST", "/api/chat", chat())
            await seen(ollama, number)
        assert [entry.bytes_sent > 0 for entry in ollama.ledger.requests] == [True, False, False]

        first.writer.close()

        assert (await second.read()).text() == "second"
        assert (await third.read()).text() == "third"
    started = [entry.started_at or 0 for entry in ollama.ledger.requests]
    assert started == sorted(started)


async def test_one_that_leaves_the_line_is_skipped(ollama: FakeOllama) -> None:
    ollama.next(hang(after_records=1), say("never"), say("third"))

    async with Peer(ollama.port) as first, Peer(ollama.port) as third:
        first.ask("POST", "/api/chat", chat())
        async with Peer(ollama.port) as second:
            await seen(ollama, 1)
            second.ask("POST", "/api/chat", chat())
            await seen(ollama, 2)
        await ollama.ledger.wait_for(lambda ledger: ledger.requests[1].left_at is not None)
        third.ask("POST", "/api/chat", chat())
        await seen(ollama, 3)
        first.writer.close()

        assert (await third.read()).text() == "third"
    assert ollama.ledger.requests[1].bytes_sent == 0


async def test_too_many_that_wait_for_a_load_are_refused(ollama: FakeOllama) -> None:
    ollama.defaults = Behaviour(load_seconds=30)

    async with Peer(ollama.port) as loading, Peer(ollama.port) as waiting:
        for number, peer in enumerate((loading, waiting), 1):
            peer.ask("POST", "/api/chat", chat())
            await seen(ollama, number)
        await asyncio.sleep(0)
        refused = await call(ollama.port, "POST", "/api/chat", chat())

    assert refused.status == 503
    assert refused.json() == {"error": "server busy, please try again.  maximum pending requests exceeded"}


async def test_a_load_is_given_up_with_the_request_that_began_it(ollama: FakeOllama) -> None:
    ollama.next(say("never", load_seconds=30), say("loaded"))

    async with Peer(ollama.port) as second:
        async with Peer(ollama.port) as first:
            first.ask("POST", "/api/chat", chat())
            await seen(ollama, 1)
            second.ask("POST", "/api/chat", chat())
            await seen(ollama, 2)

        assert (await second.read()).text() == "loaded"
    assert len(ollama.ledger.loads) == 1
