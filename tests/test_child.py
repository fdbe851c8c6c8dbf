import asyncio
import signal
import sys

import psutil
import pytest
from processes import until

from tornado_gateway.child import Child
from tornado_gateway.config import Settings
from tornado_gateway.keepers import Keepers
from tornado_gateway.worker import Handed

SAYS_READY = """
import json, os, socket, struct, time
facts = json.loads(os.environ["TORNADO_GATEWAY_WORKER"])
line = socket.socket(fileno=facts["line"])
assert "NOTIFY_SOCKET" not in os.environ
assert b"llama3.2" in os.read(facts["handed"], 100_000)
for word in (b"\\x91\\xa5ready", b"\\x92\\xa8announce\\xa5hello", b"\\x91\\xa4what"):
    line.sendall(struct.pack("!I", len(word)) + word)
time.sleep(60)
"""


def child(code: str, said: list[str]) -> Child:
    return Child(0, 2, [], [sys.executable, "-c", code], Handed(Settings()), 5, Keepers({}), said.append)


async def test_a_child_is_ready_when_it_says_so_and_ended_when_it_is_killed() -> None:
    said: list[str] = []
    started = child(SAYS_READY, said)
    await asyncio.wait_for(started.ready.wait(), 30)
    await until(lambda: said)

    started.kill()
    await asyncio.wait_for(started.ended, 30)

    assert started.out_of_service.is_set()
    assert started.code == -signal.SIGKILL
    assert said == ["hello"]
    started.signal(signal.SIGTERM)  # to nobody: no error


RELOADS_LATE = """
import json, os, select, socket, struct, sys
line = socket.socket(fileno=json.loads(os.environ["TORNADO_GATEWAY_WORKER"])["line"])
def say(data):
    line.sendall(struct.pack("!I", len(data)) + data)
def hear():
    (length,) = struct.unpack("!I", line.recv(4))
    return line.recv(length)
assert not select.select([line], [], [], 0.2)[0]
say(b"\\x91\\xa5ready")
assert hear() == b"\\x93\\xa6reload\\x02\\xc4\\x01b"
say(b"\\x93\\xa8reloaded\\x01\\xc0")
say(b"\\x93\\xa8reloaded\\x02\\x91\\xa4mine")
assert hear() == b"\\x93\\xa6reload\\x03\\xc4\\x01c"
"""


async def test_a_reload_waits_until_the_child_serves_and_is_not_taken_for_another() -> None:
    started = child(RELOADS_LATE, [])

    started.reload(1, b"a")
    reload = started.reload(2, b"b")
    behind = await asyncio.wait_for(reload, 30)
    unanswered = started.reload(3, b"c")
    await asyncio.wait_for(started.ended, 30)

    assert behind == ["mine"]
    assert unanswered.cancelled()
    assert started.reload(4, b"d").cancelled()
    assert started.code == 0


async def test_a_child_that_cannot_be_started_leaves_nothing_open() -> None:
    before = psutil.Process().num_fds()

    with pytest.raises(OSError, match="No such file"):
        Child(0, 2, [], ["/nowhere/python"], Handed(Settings()), 5, Keepers({}), print)

    assert psutil.Process().num_fds() == before


async def test_a_child_that_ends_by_itself_has_its_exit_code() -> None:
    started = child("raise SystemExit(3)", [])

    await asyncio.wait_for(started.ended, 30)

    assert started.code == 3
    assert not started.ready.is_set()


async def test_a_child_that_closes_its_line_and_lives_on_is_ended() -> None:
    started = child(
        "import os, json, time; os.close(json.loads(os.environ['TORNADO_GATEWAY_WORKER'])['line']); time.sleep(60)", []
    )

    await asyncio.wait_for(started.ended, 30)

    assert started.code == -signal.SIGKILL
