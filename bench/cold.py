"""What a token costs in the gateway's own code: right behind others, and with the processor's caches emptied before each.

A token that comes alone finds them so: the programs that send and read it ran in between. Neither sockets nor the loop are in these
figures, so that changes of a twentieth can be seen that live rounds do not show.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import report
from bench.load import PATH, Address
from bench.peers import ALL_PLUGINS, gateway_config
from bench.prompts import Plan, chat_body, native
from bench.running import start_upstream
from tornado_gateway import Gateway, load_settings
from tornado_gateway.downstream import ClientConnection, House
from tornado_gateway.upstream.connection import Connection

_BYTES = 3 * 1024 * 1024
"""More than a core has of its own."""
_PLUGINS = ALL_PLUGINS.replace("{logs}", '{logs}\n      console: "off"')
_HELD = Plan(0, 1, 2)
_WAIT_SECONDS = 30


class _Client:
    """A transport that takes everything and counts it."""

    def __init__(self) -> None:
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1

    def get_extra_info(self, name: str) -> None:
        return None

    def set_write_buffer_limits(self, *, high: int) -> None:
        """There is no buffer."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        """Nothing is open."""


def run_cold(console: Console, folder: Path, *, streams: int = 200, rounds: int = 15) -> None:
    with ExitStack() as stack:
        upstream = start_upstream(stack, folder)
        config = gateway_config(folder, 0, upstream.port, _PLUGINS)
        hot, cold = asyncio.run(_measured(config, upstream, streams, rounds))
    table = report.Grid(f"A token in the gateway's own code, {streams} streams", ["", "us"])
    table.rows = [["right behind others", report.number(hot, 2)], ["with empty caches", report.number(cold, 2)]]
    report.publish(console, "cold", [table], [], {"machine": report.machine(), "hot_us": hot, "cold_us": cold})


async def _measured(config: Path, address: Address, streams: int, rounds: int) -> tuple[float, float]:
    async with Gateway(load_settings(config), announce=lambda _: None) as gateway:
        clients = _ask(gateway, address, streams)
        async with asyncio.timeout(_WAIT_SECONDS):
            # The head, the role, and the first words: from then on tokens take the short way.
            while not all(client.writes > 2 for client in clients):  # noqa: ASYNC110  # clients do not say so
                await asyncio.sleep(0.05)
        connections = [found for found in gc.get_objects() if isinstance(found, Connection) and found._load is not None]
        gc.collect()
        gc.freeze()
        before = sum(client.writes for client in clients)
        try:
            # The loop does not run meanwhile: no token comes but these.
            cold = _microseconds(connections, rounds, bytearray(_BYTES))
            hot = _microseconds(connections, rounds, bytearray())
        finally:
            gc.unfreeze()
        passed = sum(client.writes for client in clients) - before
        if passed != 2 * rounds * streams:
            raise RuntimeError(f"{passed} tokens came through of {2 * rounds * streams}")
        return hot, cold


def _ask(gateway: Gateway, address: Address, streams: int) -> list[_Client]:
    house = House(gateway.application(), gateway.services.presence, 65536, "http", lambda _: None)
    clients = []
    for number in range(streams):
        client, connection = _Client(), ClientConnection(house, "127.0.0.1")
        connection.connection_made(client)  # type: ignore[arg-type]  # what of a transport is used
        body = chat_body(_HELD, str(number), stream=True)
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {address.key}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.data_received(head.encode() + body)
        clients.append(client)
    return clients


def _microseconds(connections: Sequence[Any], rounds: int, emptying: bytearray) -> float:
    """The median over all tokens; `emptying` is copied before each."""
    copy, token, spent = memoryview(bytearray(len(emptying))), native().record, []
    for _ in range(rounds):
        for connection in connections:
            copy[:] = emptying
            began = time.perf_counter_ns()
            connection.data_received(token)
            spent.append(time.perf_counter_ns() - began)
    return statistics.median(spent) / 1000
