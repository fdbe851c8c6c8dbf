"""Guessing keys is slow, being right is not, and nothing grows."""

import asyncio
import time

import pytest

import tornado_gateway_auth_failures as failures
from tornado_gateway_auth_failures import Failures


async def fail(held: Failures, times: int, address: str = "10.0.0.1", now: float = 0.0) -> float:
    """Fail so often; how long it took."""
    begin = time.monotonic()
    for _ in range(times):
        await held.hold(address, now)
    return time.monotonic() - begin


async def test_a_hundred_failures_a_minute_are_not_held() -> None:
    assert await fail(Failures(), 100) < failures.HELD_SECONDS


async def test_further_failures_are_late_by_a_quarter_of_a_second() -> None:
    held = Failures()
    await fail(held, 100)

    assert failures.HELD_SECONDS * 0.9 <= await fail(held, 1) < failures.HELD_SECONDS + 0.5


async def test_other_addresses_and_the_next_minute_are_not_held() -> None:
    held = Failures()
    await fail(held, 100)

    assert await fail(held, 50, address="10.0.0.2") < failures.HELD_SECONDS
    assert await fail(held, 100, now=60.0) < failures.HELD_SECONDS


async def test_addresses_of_one_ipv6_network_count_together() -> None:
    held = Failures()
    for number in range(100):
        await held.hold(f"2001:db8::{number:x}", 0.0)

    assert await fail(held, 1, address="2001:db8::ffff:1%eth0") >= failures.HELD_SECONDS * 0.9
    assert await fail(held, 1, address="2001:db8:0:1::1") < failures.HELD_SECONDS


@pytest.mark.parametrize("address", ["", "unix:/run/x", "::ffff:10.0.0.1"])
async def test_any_address_will_do(address: str) -> None:
    assert await fail(Failures(), 10, address=address) < failures.HELD_SECONDS


async def test_the_number_of_calls_that_are_held_is_bounded() -> None:
    held = Failures()
    await fail(held, 100)
    begin = time.monotonic()
    waiting = [asyncio.ensure_future(held.hold("10.0.0.1", 0.0)) for _ in range(failures.MOST_HELD)]
    await asyncio.sleep(0)

    await asyncio.gather(*(held.hold("10.0.0.1", 0.0) for _ in range(1000)))

    assert time.monotonic() - begin < failures.HELD_SECONDS
    await asyncio.gather(*waiting)


async def test_a_call_that_leaves_while_held_makes_room() -> None:
    held = Failures()
    await fail(held, 100)
    waiting = [asyncio.ensure_future(held.hold("10.0.0.1", 0.0)) for _ in range(failures.MOST_HELD)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert await fail(held, 1) >= failures.HELD_SECONDS * 0.9


async def test_ever_new_addresses_do_not_grow_the_memory() -> None:
    held = Failures()

    for number in range(20_000):
        await held.hold(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)

    assert len(held._tally._seen) == failures.MOST_ADDRESSES
