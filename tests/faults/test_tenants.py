"""C01 to C03, P62: what one tenant asks and hears never reaches another, however they cross."""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from faults.deep import DEEP
from faults.oracles import Watched, chat_request, serving
from faults.strict import responses

from tornado_gateway.testing import FakeOllama, say
from tornado_gateway_auth_keys import KeyEntry, Ring

PAIRS = 10_000 if DEEP else 60
STREAMS = 200 if DEEP else 60
TENANTS = 20
CACHE = {"cache": {"apply_to": "all"}}


def tenants(*names: str) -> dict[str, Any]:
    return {"auth": {"keys": [{"name": name, "key": f"key of {name}"} for name in names]}}


def body(text: str, **more: Any) -> bytes:
    return json.dumps({"model": "llama3.2", "messages": [{"role": "user", "content": text}], **more}).encode()


async def test_c01_no_answer_crosses_from_one_tenant_to_another() -> None:
    chance = random.Random(1)
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[tenants("ada", "bob"), CACHE]) as served:
        for number in range(PAIRS):
            asked = body(f"question {number}", temperature=0, stream=chance.random() < 0.5)
            ollama.next(say("for the first"), say("for the second"))
            one, other = chance.sample(("ada", "bob"), 2)

            first = await served.ask(asked, key=f"key of {one}")
            second = await served.ask(asked, key=f"key of {other}")
            again = await served.ask(asked, key=f"key of {one}")

            assert b"second" not in first.body
            assert b"first" not in second.body
            assert b"first" in b"".join((again.body, again.text.encode()))
            assert [answer.headers["x-cache"] for answer in (first, second, again)] == ["miss", "miss", "hit"]
            assert "age" not in second.headers

        assert len(ollama.ledger.inference) == 2 * PAIRS


ALIKE = {
    "keys that begin and end alike": ("A" * 20 + "1" + "B" * 20, "A" * 20 + "2" + "B" * 20),
    "a key that begins with the other": ("A" * 40, "A" * 40 + "A"),
    "keys that differ in case": ("abcdefghijklmnop", "ABCDEFGHIJKLMNOP"),
}


@pytest.mark.parametrize("case", ALIKE)
async def test_c02_keys_that_look_alike_are_different_tenants(case: str) -> None:
    keys = [{"name": name, "key": key} for name, key in zip(("one", "other"), ALIKE[case], strict=True)]
    limits = {"rate_limit": {"requests_per_minute": 2}}
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[{"auth": {"keys": keys}}, limits, CACHE]) as served:
        ollama.next(say("for the first"), say("for the second"))

        answers = [await served.ask(body("the same"), key=key) for key in ALIKE[case]]
        unknown = await served.ask(body("the same"), key=ALIKE[case][0][: len(ALIKE[case][0]) // 2])

        assert [answer.headers["x-cache"] for answer in answers] == ["miss", "miss"]
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "1"]
        assert unknown.status == 401


@pytest.mark.parametrize(("one", "other"), [(("a", "bc"), ("ab", "c")), (("a:", "b"), ("a", ":b"))])
async def test_c02_names_and_texts_that_run_together_are_not_the_same(one: tuple[str, str], other: tuple[str, str]) -> None:
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[tenants(one[0], other[0]), CACHE]) as served:
        for name, text in (one, other):
            assert (await served.ask(body(text), key=f"key of {name}")).headers["x-cache"] == "miss"

        assert len(ollama.ledger.inference) == 2


async def test_c03_every_byte_of_every_stream_is_its_own_tenants() -> None:
    chance = random.Random(3)
    names = [f"tenant{number:02}" for number in range(TENANTS)]
    plugins = [tenants(*names), {"rate_limit": {"requests_per_minute": None, "max_concurrent": 500}}, CACHE]
    async with FakeOllama() as ollama, serving(ollama.url, plugins=plugins) as served:
        for name in names:
            ollama.script(say(f"canary-{name} " * 30, tokens_per_second=300), text=name, times=None)

        heard = await asyncio.gather(*(listen(served, chance.choice(names), chance) for _ in range(STREAMS)))

        for name, data in heard:
            assert data.count(b"canary-") == data.count(f"canary-{name}".encode())
        assert sum(b"[DONE]" in data for _, data in heard) > STREAMS // 2
        assert any(b"[DONE]" not in data for _, data in heard)


async def listen(served: Watched, name: str, chance: random.Random) -> tuple[str, bytes]:
    """A stream to its end, or left at a random moment."""
    leave_after = chance.uniform(0, 0.2) if chance.random() < 0.3 else None
    reader, writer = await served.connect()
    data = b""
    # The question of a tenant is always the same: what is shared between its own callers must stay its own.
    writer.write(chat_request(body(f"I am {name}", stream=True), key=f"key of {name}", more="Connection: close\r\n"))
    try:
        async with asyncio.timeout(leave_after or 20):
            while part := await reader.read(4096):
                data += part
    except TimeoutError:
        assert leave_after is not None
    writer.close()
    return name, b"".join(line for line in data.split(b"\r\n") if line.startswith(b"data: "))


def median_seconds(*calls: Callable[[], object], times: int = 20_000 if DEEP else 4_000) -> list[float]:
    """Interleaved, so that what else the machine does meets all alike."""
    spent: list[list[float]] = [[] for _ in calls]
    for _ in range(times):
        for call, seconds in zip(calls, spent, strict=True):
            began = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - began)
    return [statistics.median(seconds) for seconds in spent]


def test_p62_the_time_to_check_a_key_does_not_tell_whether_it_is_near_a_known_one() -> None:
    known = "a key of forty characters, as long as it"
    ring = Ring([KeyEntry.model_validate({"name": f"{number}", "key": known + str(number)}) for number in range(100)])

    good, near, far = median_seconds(
        lambda: ring.find(known + "7", 0.0), lambda: ring.find(known + "x", 0.0), lambda: ring.find("z" * 41, 0.0)
    )

    assert abs(near - far) < 5e-6
    assert abs(good - far) < 5e-6


async def test_p62_another_tenants_entry_makes_no_answer_faster() -> None:
    """The hit of one is a miss for the other, with the whole wait that a miss has: that is all that can be timed."""
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[tenants("ada", "bob"), CACHE]) as served:
        ollama.next(say("secret"), say("other", first_byte_seconds=0.2))
        await served.ask(body("the same"), key="key of ada")

        began = time.monotonic()
        answer = await served.ask(body("the same"), key="key of bob")

        assert time.monotonic() - began >= 0.2
        assert answer.headers["x-cache"] == "miss"


async def test_p62_a_model_that_is_forbidden_looks_like_one_that_is_not_there() -> None:
    keys = [{"name": "guest", "key": "key of guest", "models": ["qwen3*"]}]
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[{"auth": {"keys": keys}}]) as served:
        forbidden, absent = [
            await served.raw(
                chat_request(json.dumps({"model": name, "messages": [{"role": "user", "content": "x"}]}).encode(),
                             key="key of guest", more="X-Request-Id: same\r\nConnection: close\r\n")
            )
            for name in ("llama3.2", "nowhere1")
        ]  # fmt: skip

        (one,), (other,) = responses(forbidden, "POST"), responses(absent, "POST")
        assert one.status == other.status == 404
        assert one.body.replace(b"llama3.2", b"NAME") == other.body.replace(b"nowhere1", b"NAME")
        assert not ollama.ledger.inference
