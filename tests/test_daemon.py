import asyncio
import threading

import pytest

from tornado_gateway.daemon import in_daemon


async def test_it_gives_what_the_work_gives_or_raises() -> None:
    assert await in_daemon(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await in_daemon(lambda: 1 // 0)


async def test_nobody_waits_for_work_that_never_ends() -> None:
    never = threading.Event()
    work = asyncio.ensure_future(in_daemon(never.wait))
    await asyncio.sleep(0)

    work.cancel()

    with pytest.raises(asyncio.CancelledError):
        await work
    never.set()  # what it gives is forgotten
