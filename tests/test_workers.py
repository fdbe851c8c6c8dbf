import asyncio
import signal
import sys

import pytest
from processes import until

from tornado_gateway.config import Settings
from tornado_gateway.hookspecs import StartupRefused
from tornado_gateway.places import Place
from tornado_gateway.tls import Pair
from tornado_gateway.worker import Handed
from tornado_gateway.workers import BEATS_OF_A_START, HUNG_AFTER_BEATS, Failures, _Parent, said_of

BEATS_ONCE = """
import json, os, socket, struct, time
line = socket.socket(fileno=json.loads(os.environ["TORNADO_GATEWAY_WORKER"])["line"])
line.sendall(struct.pack("!I", 6) + b"\\x91\\xa4beat")
time.sleep(60)
"""


@pytest.mark.parametrize(("beats", "patience"), [(True, HUNG_AFTER_BEATS), (False, BEATS_OF_A_START)])
async def test_a_worker_whose_heart_has_not_begun_to_beat_is_given_more_time(
    beats: bool, patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tornado_gateway.workers.BEAT_SECONDS", 0.005)
    command = [sys.executable, "-c", BEATS_ONCE if beats else "import time; time.sleep(60)"]
    parent = _Parent(Settings(), 1, command, Settings, print)
    child = parent._start(Place(0, ()))
    await until(lambda: child.heard is beats)

    watching = asyncio.ensure_future(parent._watch())
    await asyncio.wait_for(child.out_of_service.wait(), 30)
    watching.cancel()
    await child.ended

    assert child.code == -signal.SIGKILL
    assert child.silent > patience


def test_a_certificate_that_is_switched_off_is_not_read_any_more() -> None:
    """To read what is switched off, and is gone from the disk, would refuse a reload that one process takes."""
    tls = {"server": {"tls": {"certificate": "/nowhere/a.pem", "key": "/nowhere/a.key"}}}
    with_tls, without = Settings.model_validate(tls), Settings()
    pair = Pair(b"certificate", b"key")
    parent = _Parent(with_tls, 1, [], Settings, print)
    parent._handed = Handed(with_tls, pair)

    assert parent._pair(without) is pair
    with pytest.raises(StartupRefused):
        parent._pair(with_tls)


def test_a_reason_is_told_when_it_is_new_and_then_ever_more_rarely() -> None:
    failures = Failures()

    told = [failures.times for _ in range(40) if failures.worth_a_line("no database")]

    assert told == [1, 2, 4, 8, 16, 32]
    assert failures.worth_a_line("no memory")
    assert not failures.worth_a_line("no memory")


def test_a_start_that_fails_is_tried_again_soon_and_then_every_few_seconds() -> None:
    failures, pauses = Failures(), []
    for _ in range(100):
        failures.worth_a_line("no database")
        pauses.append(failures.pause)

    assert pauses[:5] == [0.5, 1, 2, 4, 5]
    assert set(pauses[5:]) == {5}


def test_an_end_without_a_reason_is_told_by_its_code() -> None:
    assert said_of(-9) == "ended by signal 9"
    assert "exit code 2" in said_of(2)
