import json
import logging
from pathlib import Path
from typing import Any

from processes import until

from tornado_gateway.hookspecs import NativeCall, ServerFacts
from tornado_gateway_logging import Logging
from tornado_gateway_logging_content import Content
from tornado_gateway_logging_keeper import LogKeeper, ToParent, _decoder, to_parent
from tornado_gateway_logging_lines import REQUEST_FIELDS, Item

SERVER = ServerFacts("127.0.0.1", 3000, True, lambda _: None, workers=2)
REQUEST = Item(logging.INFO, ("request", 1.0, logging.INFO, "an id", *[None] * (len(REQUEST_FIELDS) - 4)))


class Wire:
    worker = 3

    def __init__(self, keeper: LogKeeper) -> None:
        self._keeper = keeper

    async def call(self, method: str, *args: Any, seconds: float | None = 5.0) -> Any:
        raise AssertionError

    def tell(self, method: str, *args: Any) -> bool:
        getattr(self._keeper, method)(1, *args)
        return True


class Recorder(Wire):
    """A channel that takes what it is told, unless it is full."""

    def __init__(self, frames: list[bytes]) -> None:
        self.frames = frames
        self.full = False
        self.refused = 0

    def tell(self, method: str, *args: Any) -> bool:
        if self.full:
            self.refused += 1
        else:
            self.frames.append(args[0])
        return not self.full


def keeper(folder: Path) -> LogKeeper:
    return Logging(Logging.Settings(directory=folder, console="off")).keeper()


def lines(folder: Path) -> list[dict[str, Any]]:
    file = folder / "info.log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def test_what_workers_hand_over_is_written_by_the_parent(tmp_path: Path) -> None:
    parent = keeper(tmp_path)
    await parent.start(SERVER)
    outlets = to_parent(Wire(parent))

    outlets.put(REQUEST)
    outlets.put(Item(logging.WARNING, ("loop_late", 2.0, logging.WARNING), {"worst_ms": 200, "odd": object}))
    await outlets.close(5)
    await until(lambda: len(lines(tmp_path)) == 2)
    await parent.stop()

    request, event = lines(tmp_path)
    assert list(request) == list(REQUEST_FIELDS)
    assert request["request_id"] == "an id"
    assert "worker" not in request
    assert (event["event"], event["worker"], event["worst_ms"], event["odd"]) == ("loop_late", 3, 200, "type")


async def test_the_words_of_a_request_are_made_to_text_before_they_are_handed_over(tmp_path: Path) -> None:
    parent = keeper(tmp_path)
    await parent.start(SERVER)
    sink = ToParent(Wire(parent))

    sink.add(REQUEST._replace(more={"content": Content()}))
    sink.flush()
    sink.flush()
    await until(lambda: lines(tmp_path))
    await parent.stop()

    (line,) = lines(tmp_path)
    assert line["prompt"] is None


async def test_long_words_are_cut_and_go_in_frames_that_the_channel_takes() -> None:
    frames: list[bytes] = []
    sink = ToParent(Recorder(frames))

    for _ in range(200):
        content = Content()
        content.listen(NativeCall("/api/generate", "m", "", b'{"prompt":"' + b"x" * 100_000 + b'"}', stream=False))
        sink.add(REQUEST._replace(more={"content": content}))
    sink.flush()
    await until(lambda: sum(len(_decoder.decode(frame)) for frame in frames) == 200)

    assert len(frames) > 1
    assert max(map(len, frames)) < 2 * 1024 * 1024


async def test_lines_that_the_parent_does_not_take_are_counted_and_told() -> None:
    frames: list[bytes] = []
    wire = Recorder(frames)
    sink = ToParent(wire)

    wire.full = True
    sink.add(REQUEST)
    sink.add(REQUEST)
    sink.flush()
    await until(lambda: wire.refused == 1)
    wire.full = False
    sink.flush()
    sink.flush()
    await until(lambda: frames)

    ((_, values, more),) = _decoder.decode(frames[0])
    assert values[0] == "log_lines_dropped"
    assert more is not None
    assert more["count"] == 2
    assert len(frames) == 1


async def test_the_parents_own_events_are_in_the_log_and_its_files_follow_new_settings(tmp_path: Path) -> None:
    parent = keeper(tmp_path / "one")
    await parent.start(SERVER)

    logging.getLogger("tornado_gateway.workers").warning("worker_left", extra={"facts": {"worker": 1}})
    await parent.reconfigure(Logging.Settings(directory=tmp_path / "two", console="off", level="error"))
    logging.getLogger("tornado_gateway.workers").warning("not_any_more", extra={"facts": {}})
    logging.getLogger("tornado_gateway.workers").error("worker_hung", extra={"facts": {}})
    await parent.stop()

    assert [line["event"] for line in lines(tmp_path / "one")] == ["worker_left"]
    assert [line["event"] for line in lines(tmp_path / "two")] == ["worker_hung"]


async def test_a_worker_opens_no_file(tmp_path: Path) -> None:
    parent = keeper(tmp_path / "parent")
    await parent.start(SERVER)
    plugin = Logging(Logging.Settings(directory=tmp_path / "worker", console="off"))
    await plugin.startup(ServerFacts("127.0.0.1", 3000, True, lambda _: None, workers=2, shared=Wire(parent)))

    logging.getLogger("tornado_gateway.server").warning("from a worker", extra={"facts": {}})
    await plugin.reconfigure(Logging.Settings(directory=tmp_path / "worker", console="off", level="warning"))
    await plugin.shutdown()
    await parent.stop()

    assert not (tmp_path / "worker").exists()
    assert "from a worker" in [line["event"] for line in lines(tmp_path / "parent")]
