"""The bench: `make bench`, or `python bench/run.py`; `QUICK=1` in the environment makes it short, `--growth` is its second part.

Starts the simulated upstream and every peer that is there, measures them in rounds, ends them all, and shows the tables.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

if __package__ in (None, ""):  # started as a file: the package is found from the project's root
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import click
from rich.console import Console
from rich.status import Status

from bench import budget, report
from bench.cold import run_cold
from bench.environments import Missing
from bench.figures import FIGURES, QUICK, Lengths, Samples, memory_after_requests, memory_with_streams, round_of
from bench.growth import run_growth
from bench.load import Address
from bench.peers import PEERS, Peer
from bench.running import Running, start, start_seconds, start_upstream


@click.command()
@click.option("--quick", is_flag=True, help="The short form, as QUICK=1 in the environment.")
@click.option("--growth", is_flag=True, help="How costs grow with open streams, bodies, images and workers, instead.")
@click.option("--cold", is_flag=True, help="What a token costs in the gateway's own code, with empty caches, instead.")
@click.option("--peers", metavar="NAMES", help=f"Only these, separated by commas: {', '.join(peer.name for peer in PEERS)}.")
@click.option("--record", is_flag=True, help="Keep this run's ratios in bench/budget.json.")
def main(quick: bool, growth: bool, cold: bool, peers: str | None, record: bool) -> None:
    """Measure the gateway beside what people would take instead."""
    # A program that is told to end ends its own programs first.
    signal.signal(signal.SIGTERM, _stop)
    quick = quick or os.environ.get("QUICK", "") not in ("", "0")
    # Tables keep their columns when they go into a file.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    chosen = [peer for peer in PEERS if peers is None or peer.name in peers.split(",")]
    with tempfile.TemporaryDirectory(prefix="tornado-gateway-bench-") as folder:
        if cold:
            run_cold(console, Path(folder))
        elif growth:
            run_growth(console, Path(folder), chosen, quick=quick)
        else:
            run_bench(console, Path(folder), chosen, QUICK if quick else Lengths(), record=record)


def run_bench(console: Console, folder: Path, chosen: list[Peer], lengths: Lengths, *, record: bool) -> None:
    machine = report.machine()
    samples = Samples()
    with ExitStack() as stack, console.status("starting") as status:
        upstream = start_upstream(stack, folder)
        peers = start_all(stack, folder, chosen, upstream, lengths, samples, status.update)
        for running in peers:
            if running.peer.streams:
                status.update(f"{running.peer.name}: memory with streams")
                memory_with_streams(running, lengths, samples)
        for index in range(lengths.rounds):
            round_of(peers, upstream, lengths, samples, partial(_said, status, f"round {index + 1} of {lengths.rounds}"))
        for running in peers:
            status.update(f"{running.peer.name}: memory after requests")
            memory_after_requests(running, lengths, samples)
        if lengths.sizes:
            measure_sizes(peers, samples, status.update)
    _show(console, peers, samples, machine, record=record)


def start_all(stack: ExitStack, folder: Path, chosen: list[Peer], upstream: Address, lengths: Lengths, samples: Samples,
              said: Callable[[str], None]) -> list[Running]:  # fmt: skip
    """Every peer that can be had, running; the others become notes."""
    peers = []
    for peer in chosen:
        said(f"{peer.name}: starting")
        try:
            running = start(stack, folder, peer, upstream)
        except Missing as error:
            samples.note(f"{peer.title} is left out: {error}")
            continue
        peers.append(running)
        samples.add(peer.name, "start_s", running.start_seconds)
        samples.add(peer.name, "rest_mb", running.program.memory_bytes() / 1e6)
        for _ in range(0 if peer.slow else lengths.starts - 1):
            samples.add(peer.name, "start_s", start_seconds(folder, peer, upstream))
    return peers


def measure_sizes(peers: list[Running], samples: Samples, said: Callable[[str], None]) -> None:
    for running in peers:
        said(f"{running.peer.name}: size of an installation")
        try:
            samples.add(running.peer.name, "size_mb", running.peer.size())
        except Missing as error:
            samples.note(f"{running.peer.title}: size not measured, {error}")


def _show(console: Console, peers: list[Running], samples: Samples, machine: dict[str, Any], *, record: bool) -> None:
    verdicts = budget.compare(budget.read(), samples)
    names = [running.peer.name for running in peers]
    table = report.Grid("Costs", ["", *(running.peer.title for running in peers)])
    for figure in FIGURES:
        cells = [report.number(samples.median(name, figure.key), figure.digits) for name in names]
        table.rows.append([f"{figure.title}, {figure.unit}", *cells])
    targets = report.Grid("Targets, with all four plugins on", ["", "at most", "this run", "recorded", ""])
    targets.rows = [_target(verdict) for verdict in verdicts]
    values = {peer: dict(figures) for peer, figures in samples.values.items()}
    data = {
        "machine": machine,
        "samples": values,
        "notes": samples.notes,
        "targets": [_target(verdict) for verdict in verdicts],
    }
    file = report.publish(console, "bench", [table, targets], samples.notes, data)
    console.print(f"written: {file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}")
    if record:
        budget.record(verdicts)


def _target(verdict: budget.Verdict) -> list[str]:
    entry = verdict.entry
    digits = 3 if entry.at_most < 0.1 else 2
    name = f"{entry.of} / {entry.to}" if entry.to else entry.of
    word = {True: "met", False: "missed", None: "not measured"}[verdict.met] + (
        ", worse by more than 15 %" if verdict.worse else ""
    )
    return [name, *(report.number(value, digits, entry.unit) for value in (entry.at_most, verdict.value, entry.recorded)), word]


def _said(status: Status, round_: str, text: str) -> None:
    status.update(f"{round_}, {text}")


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
