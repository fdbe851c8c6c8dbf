import asyncio
import signal
import socket
import sys

import pytest
from processes import until

from tornado_gateway.config import Settings
from tornado_gateway.loading import load
from tornado_gateway.workers import BEATS_OF_A_START, HUNG_AFTER_BEATS, _Parent, listen

BEATS_ONCE = """
import json, os, socket, struct, time
line = socket.socket(fileno=json.loads(os.environ["TORNADO_GATEWAY_WORKER"])["line"])
line.sendall(struct.pack("!I", 6) + b"\\x91\\xa4beat")
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one socket for all")
def test_each_place_has_a_listening_socket_of_its_own_at_one_address() -> None:
    places = listen(Settings.model_validate({"server": {"port": 0}}), 3)

    names = {bound.getsockname() for place in places for bound in place}

    assert len(places) == 3
    assert len(names) == 1
    assert len({bound.fileno() for place in places for bound in place}) == 3
    for place in places:
        for bound in place:
            bound.close()


@pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning"
)  # Tornado leaves a socket that it could not bind to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_address_that_another_program_has_is_an_error_even_if_it_shares() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = Settings.model_validate({"server": {"port": other.getsockname()[1]}})

        with pytest.raises(OSError, match="in use"):
            listen(settings, 2)


@pytest.mark.parametrize(("beats", "patience"), [(True, HUNG_AFTER_BEATS), (False, BEATS_OF_A_START)])
async def test_a_worker_whose_heart_has_not_begun_to_beat_is_given_more_time(
    beats: bool, patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tornado_gateway.workers.BEAT_SECONDS", 0.005)
    command = [sys.executable, "-c", BEATS_ONCE if beats else "import time; time.sleep(60)"]
    parent = _Parent(Settings(), "", 1, command, load, print)
    parent._places = [[]]
    child = parent._start(0)
    await until(lambda: child.heard is beats)

    watching = asyncio.ensure_future(parent._watch())
    await asyncio.wait_for(child.out_of_service.wait(), 30)
    watching.cancel()
    await child.ended

    assert child.code == -signal.SIGKILL
    assert child.silent > patience
