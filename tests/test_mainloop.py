import signal

import pytest

from tornado_gateway.mainloop import run_to_end
from tornado_gateway.signals import Signals

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def test_the_code_is_what_the_work_gives_and_its_errors_are_raised() -> None:
    before = [signal.getsignal(number) for number in STOPS]
    try:
        assert run_to_end(_three) == 3
        with pytest.raises(OSError, match="no"):
            run_to_end(_fails)
    finally:
        for number, handler in zip(STOPS, before, strict=True):
            signal.signal(number, handler)


async def _three(signals: Signals) -> int:
    return 3


async def _fails(signals: Signals) -> int:
    raise OSError("no")
