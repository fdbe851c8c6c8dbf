"""The runs. Each takes seconds and gives rows: what was measured, the target, and whether it was met."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import random
import time
from collections.abc import Coroutine
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

from bench.soak.clients import RUBBISH, Seen, again, ask, bomb, direct, fetch, hold, leave, percentile, probe, stall, stream
from bench.soak.world import World
from tornado_gateway.testing import Behaviour

RATE = 20
WORDS = tuple(f"word{number} " for number in range(60))
TEXT = "".join(WORDS)
PACED = Behaviour(pieces=WORDS, tokens_per_second=RATE)
_ids = itertools.count()


class Row(NamedTuple):
    run: str
    what: str
    measured: str
    target: str
    met: bool


def at_most(run: str, what: str, value: float, most: float, unit: str = "", digits: int = 0) -> Row:
    return Row(run, what, f"{value:.{digits}f}{unit}", f"≤ {most:g}{unit}", value <= most)


def at_least(run: str, what: str, value: float, least: float, unit: str = "", digits: int = 0) -> Row:
    return Row(run, what, f"{value:.{digits}f}{unit}", f"≥ {least:g}{unit}", value >= least)


def question() -> str:
    return f"question {next(_ids)}"


async def together(*work: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)


def l2_streams(seconds: float) -> list[Row]:
    """200 streams of 20 tokens a second, all plugins; beside it the same from Ollama itself, to see what is added."""
    seen, alone = Seen(), list[float]()
    with World(PACED) as world, apart() as processes:
        asyncio.run(_direct(world.ollama_port, seconds / 4, alone))
        base, cpu, began = world.descriptors(), world.program.cpu_seconds(), time.monotonic()

        async def one(number: int) -> None:
            await asyncio.sleep(number / 200)
            await again(began + seconds, lambda: stream(world.port, question(), TEXT, seen, number))

        async def load() -> None:
            await together(*(one(number) for number in range(200)))

        health = processes.submit(probe, world.port, seconds)
        asyncio.run(load())
        share = (world.program.cpu_seconds() - cpu) / (time.monotonic() - began)
        memory, left = world.memory_mb(), world.settled_descriptors(base + 64)
        traces = world.traces()
    added = percentile(seen.gaps, 0.99) - percentile(alone, 0.99)
    return [
        Row("L2", "whole streams", str(seen.whole), "> 0", seen.whole > 0),
        at_most("L2", "missing, doubled or reordered tokens (streams)", seen.dishonest + seen.broken, 0),
        at_most("L2", "added between two tokens, p99", added * 1000, 25, " ms", 1),
        at_most("L2", "of one core", share * 100, 60, " %"),
        at_most("L2", "memory", memory, 150, " MB"),
        at_most("L2", "/healthz p99", percentile(health.result(), 0.99) * 1000, 100, " ms", 1),
        at_most("L2", "descriptors over the base", max(0, left - base - 64), 0),
        at_most("L2", "tracebacks", traces, 0),
    ]


async def _direct(port: int, seconds: float, gaps: list[float]) -> None:
    until = time.monotonic() + seconds

    async def one(number: int) -> None:
        await asyncio.sleep(number / 200)
        await again(until, lambda: direct(port, question(), gaps))

    await together(*(one(number) for number in range(200)))


def apart() -> ProcessPoolExecutor:
    """For clients that must not share a loop with others."""
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


def l4_mixed(seconds: float) -> list[Row]:
    """80 streams, 20 leavers, 2 readers that take nothing, rubbish, the cache, a reload now and then."""
    seen, leavers, readers, cached, chance = Seen(), Seen(), Seen(), Seen(), random.Random(4)
    memory: list[tuple[float, float]] = []
    with World(PACED) as world:
        base, until = world.descriptors(), time.monotonic() + seconds

        async def watch() -> None:
            while time.monotonic() < until:
                memory.append((time.monotonic(), world.memory_mb()))
                await asyncio.sleep(0.5)

        async def rubbish() -> None:
            await fetch(world.port, chance.choice(RUBBISH))

        async def reload() -> None:
            world.reload()

        async def load() -> None:
            await together(
                watch(),
                *(again(until, lambda: stream(world.port, question(), TEXT, seen, next(_ids))) for _ in range(80)),
                *(again(until, lambda: leave(world.port, question(), leavers, chance, 2.0)) for _ in range(20)),
                *(again(until, lambda: stall(world.port, readers)) for _ in range(2)),
                again(until, rubbish, 0.2),
                again(until, lambda: ask(world.port, f"cached {chance.randrange(4)}", cached), 0.05),
                again(until, reload, max(2.0, seconds / 10)),
            )

        asyncio.run(load())
        left = world.settled_descriptors(base + 64)
        counters, traces = world.counters(), world.traces()
    return [
        Row("L4", "whole streams", str(seen.whole), "> 0", seen.whole > 0),
        at_most("L4", "streams of good clients that broke", seen.broken + seen.dishonest + cached.broken + cached.lost, 0),
        at_least("L4", "clients that left", len(leavers.left), 1),
        Row("L4", "memory slope", f"{slope(memory):.1f} MB/h", "≤ 1 MB/h over hours", True),
        at_most("L4", "memory", memory[-1][1], 200, " MB"),
        at_most("L4", "descriptors over the base", max(0, left - base - 64), 0),
        at_most("L4", "generations that nobody waits for", counters["in_flight"], 0),
        at_most("L4", "connections to Ollama not closed and not idle", max(0, counters["open_connections"] - 64), 0),
        at_most("L4", "tracebacks", traces, 0),
    ]


def slope(points: list[tuple[float, float]]) -> float:
    """MB an hour, by least squares over the second half: the first is warming up."""
    half = points[len(points) // 2 :]
    mean_x, mean_y = sum(x for x, _ in half) / len(half), sum(y for _, y in half) / len(half)
    spread = sum((x - mean_x) ** 2 for x, _ in half)
    return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in half) / spread if spread else 0.0


def l7_churn(seconds: float) -> list[Row]:
    """100 clients a second leave; when does Ollama know?"""
    seen, chance = Seen(), random.Random(7)
    lags: list[float] = []
    with World(PACED) as world:
        base, until = world.descriptors(), time.monotonic() + seconds

        async def one() -> None:
            await leave(world.port, question(), seen, chance)

        def collect() -> None:
            for entry in world.ollama.ledger()["requests"]:
                if entry["left_at"] is not None and entry["body"] and "messages" in entry["body"]:
                    asked = seen.left.pop(entry["body"]["messages"][-1]["content"], None)
                    if asked is not None:
                        lags.append(max(0.0, entry["left_at"] - asked))
            world.ollama.clear_ledger()

        async def look() -> None:
            await asyncio.to_thread(collect)

        async def load() -> None:
            await together(*(again(until, one) for _ in range(16)), again(until, look, 3.0))

        asyncio.run(load())
        left = world.settled_descriptors(base + 64)
        collect()
        counters, traces = world.counters(), world.traces()
    return [
        at_least("L7", "clients a second that left a generation", len(lags) / seconds, 50),
        at_most("L7", "until Ollama saw it, p99", percentile(lags, 0.99) * 1000, 100, " ms", 1),
        at_most("L7", "until Ollama saw it, at most", max(lags, default=0.0) * 1000, 250, " ms", 1),
        at_most("L7", "generations that nobody waits for", counters["in_flight"], 0),
        at_most("L7", "descriptors over the base", max(0, left - base - 64), 0),
        at_most("L7", "tracebacks", traces, 0),
    ]


def l8_attacks(seconds: float) -> list[Row]:
    """Stalled readers, slow heads, silent connections, bombs; 50 good clients beside them, in another process."""
    calm, good = Seen(), Seen()
    with (
        World(Behaviour(text="short answer", tokens_per_second=200), max_connections_per_address=600) as world,
        apart() as processes,
    ):

        async def load(until: float, seen: Seen) -> None:
            await together(*(again(until, lambda: ask(world.port, question(), seen, next(_ids)), 0.2) for _ in range(50)))

        asyncio.run(load(time.monotonic() + seconds / 4, calm))
        attacks = processes.submit(attack, world.port, seconds * 3 / 4)
        asyncio.run(load(time.monotonic() + seconds * 3 / 4, good))
        memory, traces = world.memory_mb(), world.traces()
        attacked = attacks.result()
    share = 100 * good.whole / max(1, good.whole + good.broken + good.lost)
    bound = percentile(calm.seconds, 0.99) * 2000 + 50
    return [
        at_least("L8", "attacks", attacked, 300),
        at_least("L8", "good clients' requests that were answered", share, 99.9, " %", 2),
        at_most(
            "L8", "their p99 (bound: twice the calm one and 50 ms)", percentile(good.seconds, 0.99) * 1000, round(bound), " ms"
        ),
        at_most("L8", "memory", memory, 500, " MB"),
        at_most("L8", "tracebacks", traces, 0),
    ]


def attack(port: int, seconds: float) -> int:
    """All attacks at once, for a process of its own; how many there were."""
    bad, thrown = Seen(), bomb()
    until = time.monotonic() + seconds

    async def all_at_once() -> None:
        await together(
            again(until, lambda: _thrown(port, thrown, bad), 0.5),
            *(again(until, lambda: hold(port, b"", 12, bad)) for _ in range(150)),
            *(again(until, lambda: hold(port, b"GET / HTTP/1.1\r\nHost: slow.example", 12, bad)) for _ in range(150)),
            *(again(until, lambda: stall(port, bad)) for _ in range(5)),
        )

    asyncio.run(all_at_once())
    return bad.attacks


async def _thrown(port: int, data: bytes, seen: Seen) -> None:
    seen.attacks += 1
    await fetch(port, data, "127.0.0.3")


def l9_chaos(seconds: float) -> list[Row]:
    """Ollama dies, hangs and resets, the file is read anew, a worker is killed: nothing dishonest, and what may be retried succeeds."""
    seen, asked, chance = Seen(), Seen(), random.Random(9)
    with World(PACED, workers=2) as world:
        until = time.monotonic() + seconds

        def mishap() -> None:
            match chance.randrange(5):
                case 0:
                    world.kill_ollama()
                    time.sleep(1)
                    world.revive_ollama()
                case 1:
                    world.ollama.pause()
                    time.sleep(1)
                    world.ollama.resume()
                case 2:
                    with contextlib.suppress(OSError):  # the connection of the command is one of them
                        world.ollama.control("POST", "drop", {"reset": True})
                case 3:
                    world.reload()
                case 4:
                    world.kill_a_worker()

        async def mishaps() -> None:
            await asyncio.to_thread(mishap)

        async def load() -> None:
            await together(
                again(until, mishaps, min(5.0, seconds / 6)),
                *(again(until, lambda: _try_stream(world.port, seen)) for _ in range(20)),
                *(again(until, lambda: ask(world.port, question(), asked, tries=20), 0.1) for _ in range(10)),
            )

        asyncio.run(load())
        traces = world.traces()
    safe = asked.whole + asked.lost
    return [
        Row("L9", "whole streams / broken ones that said so", f"{seen.whole} / {seen.broken}", "> 0", seen.whole > 0),
        at_most("L9", "cut answers that looked whole", seen.dishonest + asked.dishonest, 0),
        at_least("L9", "requests safe to retry that succeeded", 100 * asked.whole / max(1, safe), 99.5, " %", 2),
        at_most("L9", "tracebacks", traces, 0),
    ]


async def _try_stream(port: int, seen: Seen) -> None:
    try:
        await stream(port, question(), TEXT, seen, next(_ids))
    except OSError:
        seen.broken += 1
        await asyncio.sleep(0.2)
