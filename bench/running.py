"""The programs of one run: the upstream and every peer that is there, each on a free port, all ended when the run is over."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.environments import ROOT, Missing
from bench.load import PATH, Address
from bench.peers import Peer
from bench.processes import Program, free_port, wait_for_answer
from bench.prompts import WHOLE, chat_body

_UPSTREAM_SECONDS = 10


@dataclass(frozen=True)
class Running:
    """A peer that answers."""

    peer: Peer
    program: Program
    address: Address
    start_seconds: float


def start_upstream(stack: ExitStack, folder: Path) -> Address:
    port = free_port()
    command = [sys.executable, "-m", "bench.upstream", str(port)]
    program = stack.enter_context(Program("upstream", command, folder / "upstream.log", {"PYTHONPATH": str(ROOT)}))
    wait_for_answer(program, port, PATH, _first_body(), {}, _UPSTREAM_SECONDS)
    return Address(port)


def start(stack: ExitStack, folder: Path, peer: Peer, upstream: Address) -> Running:
    """Start a peer and wait for its first answer. Raises `Missing` when it cannot be had or does not come up."""
    own = folder / f"{peer.name}-{free_port()}"
    own.mkdir()
    port = free_port()
    launch = peer.launch(own, port, upstream.port)
    program = stack.enter_context(Program(peer.name, launch.command, own / "output.log", launch.env))
    address = Address(port)
    try:
        seconds = wait_for_answer(program, port, PATH, _first_body(), address.headers, peer.start_seconds)
    except RuntimeError as error:
        raise Missing(str(error)) from error
    return Running(peer, program, address, seconds)


def start_seconds(folder: Path, peer: Peer, upstream: Address) -> float:
    """The time from start to first answer, of a process that ends at once."""
    with ExitStack() as stack:
        return start(stack, folder, peer, upstream).start_seconds


def _first_body() -> bytes:
    return chat_body(WHOLE, "first", stream=False)
