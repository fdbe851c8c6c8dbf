import asyncio
import logging
import time

import pytest

from tornado_gateway.lag import LoopLag


async def test_r30_a_late_loop_is_told_once_with_figures(caplog: pytest.LogCaptureFixture) -> None:
    lag = LoopLag()
    lag.start()
    caplog.set_level(logging.WARNING, "tornado_gateway")

    for _ in range(3):
        time.sleep(0.25)  # noqa: ASYNC251  # what a plugin must not do
        await asyncio.sleep(0.06)
    lag.close()

    (record,) = [record for record in caplog.records if record.message == "loop_late"]
    assert record.facts["worst_ms"] >= 150  # type: ignore[attr-defined]  # what the core's logger adds
    assert lag.alarms == 3
    assert lag.worst_seconds >= 0.15


async def test_r30_a_loop_with_nothing_to_do_is_not_late() -> None:
    lag = LoopLag()
    lag.start()

    await asyncio.sleep(0.2)
    lag.close()

    assert 0 <= lag.worst_seconds < 1
    assert lag.last_seconds <= lag.worst_seconds
