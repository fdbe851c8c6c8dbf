from __future__ import annotations

import asyncio
import errno
import resource
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from upstream.raw import WITHIN, Peer, Serve

from tornado_gateway.errors import GatewayError, Overloaded, UpstreamUnavailable
from tornado_gateway.upstream.connection import Connection
from tornado_gateway.upstream.dial import Dial
from tornado_gateway.upstream.target import target_of


class Outcome:
    """A dial, what it came to, and the connection that it made."""

    def __init__(self, url: str) -> None:
        target = target_of(url)
        self.told: asyncio.Future[GatewayError | None] = asyncio.get_running_loop().create_future()
        self.connection = Connection(target.origin, lambda _: None, lambda _: None, lambda _: None)
        self.dial = Dial(target, self.connection, ssl.create_default_context, self.told.set_result)

    async def error(self) -> GatewayError | None:
        async with asyncio.timeout(WITHIN):
            return await self.told


async def test_a_dial_that_succeeds_leaves_a_usable_connection(serve: Serve) -> None:
    server = await serve(Peer.gone)
    outcome = Outcome(server.url)

    assert await outcome.error() is None
    assert outcome.connection.usable()

    outcome.connection.abort()
    await server.until(lambda server: server.closed == 1)


async def test_a_refusal_is_told_without_the_address(free_port: int) -> None:
    error = await Outcome(f"http://127.0.0.1:{free_port}").error()

    assert type(error) is UpstreamUnavailable
    assert error.__cause__ is not None
    assert str(free_port) not in error.message


@contextmanager
def no_descriptors() -> Iterator[None]:
    """No descriptor is left meanwhile."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_c33_the_gateways_own_shortage_is_not_blamed_on_ollama(free_port: int) -> None:
    outcome = Outcome(f"http://127.0.0.1:{free_port}")

    with no_descriptors():
        error = await outcome.error()

    assert type(error) is Overloaded
    assert isinstance(error.__cause__, OSError)
    assert error.__cause__.errno == errno.EMFILE


@pytest.mark.parametrize("turns", range(12))
async def test_c29_aborted_after_any_turn_it_tells_nothing_and_leaves_nothing(
    serve: Serve, open_sockets: Callable[[], list[int]], turns: int
) -> None:
    server = await serve(Peer.gone)
    outcome = Outcome(server.url)
    for _ in range(turns):
        await asyncio.sleep(0)
    done = outcome.told.done()

    outcome.dial.abort()

    await asyncio.gather(outcome.dial.task, return_exceptions=True)
    await server.until(lambda server: server.closed == server.opened)
    assert outcome.told.done() == done
    assert server.port not in open_sockets()
