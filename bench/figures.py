"""What is measured of each peer, and how: every figure is a number with a unit, taken in rounds that visit all peers in turn."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench import load
from bench.load import Address, Measured
from bench.prompts import Plan
from bench.running import Running

BURSTS = Plan(1000, 100, 20)
"""Ten times a hundred tokens at once, so that what the request itself costs is spread over a thousand tokens."""
PACED = Plan(0, 1, 20)
FIRST = Plan(5)
_HELD = Plan(0, 1, 2)
_FURTHER = 300


@dataclass(frozen=True)
class Figure:
    key: str
    title: str
    unit: str
    digits: int = 0


FIGURES = (
    Figure("request_us", "CPU per request, not streamed, 16 connections", "us"),
    Figure("burst_us", "CPU per token, 100 at once", "us", 2),
    Figure("paced_us", "CPU per token, paced, 200 streams at 20/s", "us", 1),
    Figure("cached_us", "CPU per cached answer", "us"),
    Figure("whole_p50_ms", "added latency, whole answer, 1 connection, p50", "ms", 2),
    Figure("whole_p99_ms", "… p99", "ms", 2),
    Figure("first_p50_ms", "added latency, first token, 1 connection, p50", "ms", 2),
    Figure("first_p99_ms", "… p99", "ms", 2),
    Figure("gap_p99_ms", "time between tokens, 200 streams at 20/s, p99", "ms", 1),
    Figure("requests_s", "requests per second, 16 connections", "1/s"),
    Figure("rest_mb", "memory at rest", "MB", 1),
    Figure("streams_mb", "memory with 200 streams", "MB", 1),
    Figure("stream_kb", "memory per further stream", "KB", 1),
    Figure("after_mb", "memory after 10,000 requests", "MB", 1),
    Figure("start_s", "start to first answer", "s", 2),
    Figure("size_mb", "fresh installation", "MB", 1),
)


@dataclass(frozen=True)
class Lengths:
    """How long each part of a round takes, in seconds."""

    rounds: int = 3
    starts: int = 3
    whole: float = 2
    whole_slow: float = 12
    burst: float = 2
    paced: float = 3
    cached: float = 2
    latency: float = 2
    requests: int = 10_000
    requests_limit: float = 25
    sizes: bool = True


QUICK = Lengths(
    rounds=1, starts=1, whole=1, whole_slow=5, burst=1, paced=1.5, cached=1, latency=1, requests=10_000, requests_limit=4, sizes=False
)  # fmt: skip


@dataclass
class Samples:
    """All numbers of a run, by peer and figure, and what has to be said about them."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    notes: list[str] = field(default_factory=list)

    def add(self, peer: str, figure: str, value: float | None) -> None:
        if value is not None:
            self.values[peer][figure].append(value)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def median(self, peer: str, figure: str) -> float | None:
        values = self.values.get(peer, {}).get(figure)
        return statistics.median(values) if values else None

    def check(self, running: Running, what: str, measured: Measured) -> None:
        """Say what went wrong under a load: a figure with errors in it is worth nothing."""
        errors = measured.found["errors"]
        if errors:
            self.note(f"{running.peer.title}, {what}: errors ({errors if isinstance(errors, int) else str(errors[0])[:120]})")


def round_of(
    peers: Sequence[Running], direct: Address, lengths: Lengths, samples: Samples, said: Callable[[str], None]
) -> None:
    """One round: figure by figure, all peers in turn, so that a slow minute of the machine hits all alike."""
    for running in _there_and_back(peers):
        said(f"{running.peer.name}: requests")
        _whole(running, lengths, samples)
        if running.peer.name == "shipped":
            said(f"{running.peer.name}: cached answers")
            _cached(running, lengths, samples)
    for running in _there_and_back(_streaming(peers)):
        said(f"{running.peer.name}: bursts")
        _burst(running, lengths, samples)
    for running in _there_and_back(_streaming(peers)):
        said(f"{running.peer.name}: paced streams")
        _paced(running, lengths, samples)
    for running in peers:
        said(f"{running.peer.name}: latency")
        _latency(running, direct, lengths, samples)


def memory_with_streams(running: Running, lengths: Lengths, samples: Samples) -> None:
    """Memory with 200 streams, and what each of 300 more adds. A slow peer gets a tenth of both."""
    streams, further = (20, _FURTHER // 10) if running.peer.slow else (200, _FURTHER)
    memory = running.program.memory_bytes
    few = load.streamed(running.address, lengths.latency, PACED, streams=streams, probe=memory)
    many = load.streamed(running.address, lengths.latency, _HELD, streams=streams + further, probe=memory)
    samples.check(running, "open streams", many)
    samples.add(running.peer.name, "streams_mb", few.end / 1e6)
    samples.add(running.peer.name, "stream_kb", max(0.0, many.end - few.end) / further / 1000)
    if running.peer.slow:
        samples.note(
            f"{running.peer.title}: a tenth of the streams ({streams}), 2 instead of 16 in bursts; more than that it cannot carry"
        )


def memory_after_requests(running: Running, lengths: Lengths, samples: Samples) -> None:
    """Memory after 10,000 requests, or after as many as fit into the time."""
    done, spent = sum(samples.values[running.peer.name]["_requests"]), 0.0
    while done < lengths.requests and spent < lengths.requests_limit:
        found = load.whole(running.address, 2, connections=16).found
        done, spent = done + found["requests"], spent + found["seconds"]
    if done < lengths.requests:
        samples.note(f"{running.peer.title}: memory after {done:,.0f} requests, not {lengths.requests:,}")
    samples.add(running.peer.name, "after_mb", running.program.memory_bytes() / 1e6)


def _there_and_back(peers: Sequence[Running]) -> list[Running]:
    """Each twice, so that a machine that grows slower or faster does so for all alike; but for slow ones, which get their time at once."""
    return [*peers, *(running for running in reversed(peers) if not running.peer.slow)]


def _streaming(peers: Sequence[Running]) -> list[Running]:
    return [running for running in peers if running.peer.streams]


def _whole(running: Running, lengths: Lengths, samples: Samples) -> None:
    seconds = lengths.whole_slow if running.peer.slow else lengths.whole
    measured = load.whole(running.address, seconds, connections=16, probe=running.program.cpu_seconds)
    samples.check(running, "requests", measured)
    requests = measured.found["requests"]
    samples.add(running.peer.name, "_requests", requests)
    samples.add(running.peer.name, "request_us", _each(measured, requests))
    samples.add(running.peer.name, "requests_s", requests / measured.found["seconds"])


def _burst(running: Running, lengths: Lengths, samples: Samples) -> None:
    streams = 2 if running.peer.slow else 16
    measured = load.streamed(running.address, lengths.burst, BURSTS, streams=streams, probe=running.program.cpu_seconds)
    samples.check(running, "bursts", measured)
    samples.add(running.peer.name, "burst_us", _each(measured, measured.found["tokens"]))


def _paced(running: Running, lengths: Lengths, samples: Samples) -> None:
    streams = 20 if running.peer.slow else 200
    measured = load.streamed(running.address, lengths.paced, PACED, streams=streams, probe=running.program.cpu_seconds)
    samples.check(running, "paced streams", measured)
    samples.add(running.peer.name, "paced_us", _each(measured, measured.found["tokens"]))
    samples.add(running.peer.name, "gap_p99_ms", measured.found["gap_ms"]["p99"])


def _cached(running: Running, lengths: Lengths, samples: Samples) -> None:
    load.whole(running.address, 1, connections=1, same=True)
    measured = load.whole(running.address, lengths.cached, connections=16, same=True, probe=running.program.cpu_seconds)
    samples.check(running, "cached answers", measured)
    samples.add(running.peer.name, "cached_us", _each(measured, measured.found["requests"]))


def _latency(running: Running, direct: Address, lengths: Lengths, samples: Samples) -> None:
    """What one client waits longer than it would without a gateway; the direct way is measured right before."""
    without = load.whole(direct, lengths.latency, connections=1).found
    through = load.whole(running.address, lengths.latency, connections=1).found
    for share in ("p50", "p99"):
        samples.add(running.peer.name, f"whole_{share}_ms", through[f"{share}_ms"] - without[f"{share}_ms"])
    if not running.peer.streams:
        return
    without = load.streamed(direct, lengths.latency, FIRST, streams=1, ramp_seconds=0).found["first_ms"]
    through = load.streamed(running.address, lengths.latency, FIRST, streams=1, ramp_seconds=0).found["first_ms"]
    for share in ("p50", "p99"):
        if through[share] is not None and without[share] is not None:
            samples.add(running.peer.name, f"first_{share}_ms", through[share] - without[share])


def _each(measured: Measured, count: int) -> float | None:
    """Microseconds of CPU time for each of what was counted."""
    return (measured.end - measured.begin) / count * 1e6 if count else None
