import asyncio
import os
import signal

import pytest

from tornado_gateway.signals import Signals, be_quiet_until_served, unless


async def test_the_first_signal_stops_the_second_does_not_wait_and_hang_up_is_another() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    signals = Signals()
    try:
        with signals:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.wait_for(signals.hang_up.wait(), 5)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(signals.stop.wait(), 5)
            assert not signals.at_once.is_set()

            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.wait_for(signals.at_once.wait(), 5)
            signals.stay()
    finally:
        signals.stay()
        for number, handler in zip((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), before, strict=True):
            signal.signal(number, handler)


async def test_a_hang_up_that_comes_before_the_loop_is_heard_by_it() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    signals = Signals()
    try:
        be_quiet_until_served()
        signal.raise_signal(signal.SIGHUP)
        with signals:
            await asyncio.wait_for(signals.hang_up.wait(), 5)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        for number, handler in zip((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), before, strict=True):
            signal.signal(number, handler)


async def test_unless_gives_what_the_work_gives_when_the_event_does_not_come() -> None:
    assert await unless(asyncio.Event(), asyncio.sleep(0, "done")) == "done"
    with pytest.raises(ZeroDivisionError):
        await unless(asyncio.Event(), _fail())


async def test_unless_ends_the_work_when_the_event_comes() -> None:
    event, ended = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, event.set)

    given = await unless(event, _work(ended))

    assert given is None
    assert ended.is_set()


async def _fail() -> int:
    return 1 // 0


async def _work(ended: asyncio.Event) -> bool:
    try:
        return await asyncio.Event().wait()
    finally:
        ended.set()
