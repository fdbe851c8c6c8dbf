"""How costs grow: with open streams, with the size of bodies and of images, and what a second worker brings.

The question is the shape: the cost of a request must not depend on how many streams are open, that of a message must be linear in its size.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import load, report
from bench.environments import Missing
from bench.figures import Samples
from bench.load import Address, Measured
from bench.peers import FERRO, NGINX, SHIPPED, WORKERS, Peer
from bench.prompts import Plan
from bench.running import Running, start, start_upstream

STREAMS = (10, 100, 1000, 2000)
BODIES = (2_000, 16_000, 128_000, 1_000_000, 4_000_000)
IMAGES = (100_000, 1_000_000, 5_000_000, 20_000_000)
_TOKENS_PER_SECOND = 2000
_PEERS = (SHIPPED, FERRO, NGINX)


@dataclass(frozen=True)
class Seconds:
    streams: float = 3
    requests: float = 3
    large: float = 4

    def for_bytes(self, size: int) -> float:
        """Large messages get more time, so that some of them come through."""
        return self.large * (1 + size / 4_000_000)


_QUICK = Seconds(1.5, 1, 1.5)


def run_growth(console: Console, folder: Path, chosen: Sequence[Peer], *, quick: bool) -> None:
    """Both cores are busy during some of this: what counts is how a column grows, not how two columns compare."""
    machine = report.machine()
    seconds = _QUICK if quick else Seconds()
    samples = Samples()
    with ExitStack() as stack, console.status("starting") as status:
        upstream = start_upstream(stack, folder)
        peers = [peer for peer in (_try(stack, folder, peer, upstream, samples) for peer in _PEERS if peer in chosen) if peer]
        sections: list[Callable[[], report.Grid]] = [
            partial(_streams, peers, seconds, samples, status.update),
            partial(_bodies, peers, seconds, samples, status.update),
            partial(_images, peers, seconds, samples, status.update),
        ]
        grids = [section() for section in sections]
        workers = _try(stack, folder, WORKERS, upstream, samples)
        one = next((running for running in peers if running.peer is SHIPPED), None)
        if workers is not None and one is not None:
            grids.append(_workers(one, workers, seconds, samples))
    data = {
        "machine": machine,
        "notes": samples.notes,
        "samples": {peer: dict(values) for peer, values in samples.values.items()},
    }
    report.publish(console, "growth", grids, samples.notes, data)


def _try(stack: ExitStack, folder: Path, peer: Peer, upstream: Address, samples: Samples) -> Running | None:
    try:
        return start(stack, folder, peer, upstream)
    except Missing as error:
        samples.note(f"{peer.title} is left out: {error}")
        return None


def _streams(peers: Sequence[Running], seconds: Seconds, samples: Samples, said: Callable[[str], None]) -> report.Grid:
    """The same number of tokens a second over more and more streams, and requests beside streams that are open."""
    grid = report.Grid(f"Open streams ({_TOKENS_PER_SECOND:,} tokens/s in all)", ["", *(f"{count:,}" for count in STREAMS)])
    for running in peers:
        tokens, requests = [], []
        for count in STREAMS:
            said(f"{running.peer.name}: {count} streams")
            tokens.append(_per_token(running, count, seconds, samples))
            requests.append(_per_request_beside(running, count, seconds, samples))
        grid.rows.append([f"{running.peer.title}: CPU per token, us", *(report.number(value, 1) for value in tokens)])
        grid.rows.append(
            [f"{running.peer.title}: CPU per request beside them, us", *(report.number(value) for value in requests)]
        )
    return grid


def _per_token(running: Running, count: int, seconds: Seconds, samples: Samples) -> float | None:
    plan = Plan(0, 1, _TOKENS_PER_SECOND / count)
    measured = _held(running, count, seconds.streams, plan, lambda: None)
    samples.check(running, f"{count} streams", measured)
    return _keep(samples, running, f"token_us_{count}", measured.end - measured.begin, measured.found["tokens"])


def _per_request_beside(running: Running, count: int, seconds: Seconds, samples: Samples) -> float | None:
    """CPU per request while streams are open that hardly speak; what they cost by themselves is measured first and taken off."""
    cpu = running.program.cpu_seconds
    seen: dict[str, Any] = {}

    def during() -> None:
        began, before = time.perf_counter(), cpu()
        time.sleep(seconds.requests)
        seen["idle"] = (cpu() - before) / (time.perf_counter() - began)
        seen["load"] = load.whole(running.address, seconds.requests, connections=16, probe=cpu)

    measured = _held(running, count, 2 * seconds.requests + 1, Plan(0, 1, 0.2), during)
    samples.check(running, f"requests beside {count} streams", measured)
    loaded = seen["load"]
    samples.check(running, f"requests beside {count} streams", loaded)
    spent = loaded.end - loaded.begin - seen["idle"] * loaded.found["seconds"]
    return _keep(samples, running, f"request_us_{count}", spent, loaded.found["requests"])


def _held(running: Running, count: int, seconds: float, plan: Plan, during: Callable[[], None]) -> Measured:
    cpu, ramp = running.program.cpu_seconds, max(1.0, count / 500)
    return load.streamed(running.address, seconds, plan, streams=count, ramp_seconds=ramp, probe=cpu, during=during)


def _bodies(peers: Sequence[Running], seconds: Seconds, samples: Samples, said: Callable[[str], None]) -> report.Grid:
    filler = {size: ("word " * (size // 5)) for size in BODIES}
    return _sizes("Bodies, KB", "a body", BODIES, peers, samples, said, lambda running, size: load.whole(
        running.address, seconds.for_bytes(size), connections=4, filler=filler[size], probe=running.program.cpu_seconds))  # fmt: skip


def _images(peers: Sequence[Running], seconds: Seconds, samples: Samples, said: Callable[[str], None]) -> report.Grid:
    image = {size: base64.b64encode(b"\x89PNG\r\n\x1a\n" + os.urandom(size)).decode() for size in IMAGES}
    return _sizes("Images, KB", "an image", IMAGES, peers, samples, said, lambda running, size: load.whole(
        running.address, seconds.for_bytes(size), connections=2, image=image[size], probe=running.program.cpu_seconds))  # fmt: skip


def _sizes(name: str, key: str, sizes: Sequence[int], peers: Sequence[Running], samples: Samples, said: Callable[[str], None],
           measure: Callable[[Running, int], Measured]) -> report.Grid:  # fmt: skip
    grid = report.Grid(f"{name}: CPU per request, ms, and ns per byte", ["", *(f"{size / 1000:,.0f}" for size in sizes)])
    for running in peers:
        cells = []
        for size in sizes:
            said(f"{running.peer.name}: {name} {size / 1000:,.0f}")
            measured = measure(running, size)
            good = measured.found["requests"] - measured.found["bad_status"]
            if good <= 0:
                word = "refuses" if measured.found["errors"] else "did not answer in time"
                samples.note(f"{running.peer.title}: {word} {key} of {size / 1000:,.0f} KB")
                cells.append(report.NOTHING)
                continue
            each = _keep(samples, running, f"{key.split()[1]}_us_{size}", measured.end - measured.begin, good)
            cells.append(f"{(each or 0) / 1000:,.2f} ({(each or 0) * 1000 / size:,.1f})")
        grid.rows.append([running.peer.title, *cells])
    return grid


def _workers(one: Running, two: Running, seconds: Seconds, samples: Samples) -> report.Grid:
    grid = report.Grid("Workers", ["", "requests/s, 32 connections"])
    for running in (one, two):
        measured = load.whole(running.address, seconds.requests, connections=32)
        samples.check(running, "requests", measured)
        found = measured.found
        samples.add(running.peer.name, "requests_s", found["requests"] / found["seconds"])
        grid.rows.append([running.peer.title, report.number(found["requests"] / found["seconds"])])
    samples.note("Workers: upstream and load need a core of their own, so two cores cannot show twice the throughput.")
    return grid


def _keep(samples: Samples, running: Running, figure: str, cpu_seconds: float, count: float) -> float | None:
    """Microseconds for each, kept for the JSON file."""
    value = cpu_seconds / count * 1e6 if count else None
    samples.add(running.peer.name, figure, value)
    return value
