"""The logging plugin as the gateway uses it: hooks with real contexts and outcomes."""

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from tornado_gateway.hookspecs import (
    Context,
    Message,
    NativeCall,
    Outcome,
    Principal,
    Record,
    ServerFacts,
    StartupRefused,
    Usage,
)
from tornado_gateway_logging import Logging

NAMES = [
    "event",
    "time",
    "level",
    "request_id",
    "key",
    "client",
    "method",
    "path",
    "status",
    "model",
    "upstream",
    "stream",
    "cache",
    "queue_ms",
    "first_byte_ms",
    "duration_ms",
    "prompt_tokens",
    "completion_tokens",
    "load_ms",
    "ended",
    "error",
]
WHOLE = Outcome(
    "complete",
    200,
    duration_ms=1500.0,
    queue_ms=1.0,
    first_byte_ms=250.5,
    usage=Usage(7, 11, 2_500_000),
    answer="canary answer",
)
CALL = NativeCall("/api/chat", "llama3.2:latest", "", b'{"messages":[{"role":"user","content":"canary prompt"}]}', stream=True)


def settings(folder: Path | None, **more: Any) -> Logging.Settings:
    return Logging.Settings.model_validate({"directory": folder, "console": "off", **more})


async def started(folder: Path | None, said: list[str] | None = None, **more: Any) -> Logging:
    plugin = Logging(settings(folder, **more))
    await plugin.startup(ServerFacts("127.0.0.1", 3000, True, (said if said is not None else []).append))
    return plugin


def request(**facts: Any) -> Context:
    headers = {"authorization": "Bearer canary key", "cookie": "canary"}
    known: dict[str, Any] = {
        "path": "/v1/chat/completions",
        "headers": headers,
        "principal": Principal("alice"),
        "model": "llama3.2:latest",
        "resolved_model": "llama3.2:latest",
        "stream": True,
    }
    return Context("r-1", 1790000000.0, 5.0, "10.0.0.9", "POST", **{**known, **facts})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def line_for(folder: Path, context: Context, outcome: Outcome, **more: Any) -> dict[str, Any]:
    plugin = await started(folder, **more)
    await plugin.finished(context, outcome)
    await plugin.shutdown()
    (line,) = (line for line in lines(folder / "info.log") if line["event"] == "request")
    return line


async def answered(plugin: Logging, context: Context) -> None:
    """What the core does with a call, from its first record to the end of the request."""
    function = await plugin.transform(context, CALL)
    for text in ("canary ", "answer"):
        record = Record(message=Message(content=text))
        assert function is None or function(record) is record
    await plugin.finished(context, WHOLE)


async def test_a_request_is_one_line_with_the_promised_names(tmp_path: Path) -> None:
    context = request(upstream="default", cache="miss")

    line = await line_for(tmp_path, context, WHOLE)

    assert list(line) == NAMES
    assert line == {
        "event": "request",
        "time": "2026-09-21T14:13:21.500Z",
        "level": "INFO",
        "request_id": "r-1",
        "key": "alice",
        "client": "10.0.0.9",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "model": "llama3.2:latest",
        "upstream": "default",
        "stream": True,
        "cache": "miss",
        "queue_ms": 1.0,
        "first_byte_ms": 250.5,
        "duration_ms": 1500.0,
        "prompt_tokens": 7,
        "completion_tokens": 11,
        "load_ms": 2.5,
        "ended": "complete",
        "error": None,
    }


async def test_a_request_of_which_little_is_known_has_all_names_too(tmp_path: Path) -> None:
    context = Context("r-2", 0.0, 0.0, "::1", "GET", "/")

    line = await line_for(tmp_path, context, Outcome("refused", 401, error="invalid_api_key"))

    assert list(line) == NAMES
    assert {name for name in NAMES if line[name] is None} >= {"key", "model", "upstream", "cache", "prompt_tokens", "load_ms"}
    assert line["error"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("ended", "status", "level"),
    [
        ("complete", 200, "INFO"),
        ("refused", 429, "INFO"),
        ("client_left", 499, "INFO"),
        ("client_left", 200, "INFO"),
        ("shutdown", 200, "INFO"),
        ("shutdown", 503, "ERROR"),
        ("upstream_failed", 502, "ERROR"),
        ("upstream_failed", 200, "ERROR"),
        ("failed", 500, "ERROR"),
        ("failed", 200, "ERROR"),
    ],
)
async def test_the_level_says_whether_someone_must_look(tmp_path: Path, ended: Any, status: int, level: str) -> None:
    line = await line_for(tmp_path, request(), Outcome(ended, status))

    assert line["level"] == level
    assert [each["level"] for each in lines(tmp_path / "error.log")] == (["ERROR"] if level == "ERROR" else [])


async def test_whom_the_caller_acts_for_and_the_name_that_was_asked_come_behind(tmp_path: Path) -> None:
    line = await line_for(tmp_path, request(user="bob", model="gpt-3.5-turbo"), WHOLE)

    assert list(line)[len(NAMES) :] == ["user", "requested_model"]
    assert (line["user"], line["model"], line["requested_model"]) == ("bob", "llama3.2:latest", "gpt-3.5-turbo")


async def test_the_name_that_was_asked_stands_where_no_model_was_found(tmp_path: Path) -> None:
    line = await line_for(tmp_path, request(model="unknown", resolved_model=None), Outcome("refused", 404))

    assert line["model"] == "unknown"
    assert "requested_model" not in line


async def test_what_a_client_sends_cannot_flood_the_log(tmp_path: Path) -> None:
    huge = "m" * 10**6

    line = await line_for(tmp_path, request(path=f"/{huge}?key=canary", model=huge, resolved_model=None, user=huge), WHOLE)

    assert len(json.dumps(line)) < 3000
    assert "canary" not in json.dumps(line)


async def test_c09_prompts_answers_keys_and_headers_are_in_no_file(tmp_path: Path) -> None:
    plugin = await started(tmp_path)
    context = request()

    await answered(plugin, context)
    logging.getLogger("tornado_gateway.hooks").error("hook_failed", exc_info=RuntimeError("canary"), extra={"facts": {}})
    await plugin.shutdown()

    assert not context.state
    assert all("canary" not in path.read_text() for path in files_in(tmp_path))


async def test_where_it_is_allowed_prompt_and_answer_are_written_but_no_key(tmp_path: Path) -> None:
    said: list[str] = []
    plugin = await started(tmp_path, said, log_content=True)
    context = request()

    await answered(plugin, context)
    await plugin.shutdown()

    announced, line = lines(tmp_path / "info.log")
    assert said == ["log_content is on: prompts and answers are written to the log."]
    assert (announced["event"], announced["level"]) == ("log_content_on", "WARNING")
    assert json.loads(line["prompt"]) == {"messages": [{"role": "user", "content": "canary prompt"}]}
    assert line["answer"] == "canary answer"
    assert "canary key" not in (tmp_path / "info.log").read_text()


async def test_a_key_may_allow_it_for_itself(tmp_path: Path) -> None:
    plugin = await started(tmp_path)
    for name, allowed in (("alice", True), ("bob", False)):
        context = request(principal=Principal(name, log_content=allowed))
        await answered(plugin, context)
    await plugin.shutdown()

    alice, bob = lines(tmp_path / "info.log")
    assert "canary prompt" in alice["prompt"]
    assert not {"prompt", "answer"} & set(bob)


async def test_the_level_setting_leaves_out_what_is_below(tmp_path: Path) -> None:
    plugin = await started(tmp_path, level="ERROR")

    await plugin.finished(request(), WHOLE)
    await plugin.finished(request(), Outcome("failed", 500))
    await plugin.shutdown()

    assert [line["status"] for line in lines(tmp_path / "info.log")] == [500]


async def test_events_stand_beside_requests(tmp_path: Path) -> None:
    plugin = await started(tmp_path)

    logging.getLogger("tornado_gateway.server").info("listening", extra={"facts": {"port": 3000}})
    await plugin.finished(request(), WHOLE)
    await plugin.shutdown()
    logging.getLogger("tornado_gateway.server").error("too late", extra={"facts": {}})

    assert [line["event"] for line in lines(tmp_path / "info.log")] == ["listening", "request"]


async def test_a_folder_that_cannot_be_written_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StartupRefused, match=r"^logging: cannot write to .* \(Not a directory\)") as caught:
        await started(tmp_path / "file" / "logs")

    assert "\n" not in str(caught.value)


async def test_two_gateways_with_folders_of_their_own_keep_apart(tmp_path: Path) -> None:
    plugins = [await started(tmp_path / name) for name in ("a", "b")]

    for plugin, name in zip(plugins, ("alice", "bob"), strict=True):
        await plugin.finished(request(principal=Principal(name)), WHOLE)
    for plugin in plugins:
        await plugin.shutdown()

    assert [[line["key"] for line in lines(tmp_path / name / "info.log")] for name in ("a", "b")] == [["alice"], ["bob"]]


async def test_new_settings_open_the_files_anew(tmp_path: Path) -> None:
    plugin = await started(tmp_path / "a")
    await plugin.finished(request(), WHOLE)
    await plugin.reconfigure(settings(tmp_path / "b", level="debug"))

    await plugin.finished(request(), WHOLE)
    logging.getLogger("tornado_gateway.server").debug("detail", extra={"facts": {}})
    await plugin.shutdown()

    assert [line["event"] for line in lines(tmp_path / "a" / "info.log")] == ["request"]
    assert [line["event"] for line in lines(tmp_path / "b" / "info.log")] == ["request", "detail"]


async def test_files_that_were_moved_away_are_begun_anew_after_a_reload(tmp_path: Path) -> None:
    plugin = await started(tmp_path)
    await plugin.finished(request(), WHOLE)
    await asyncio.to_thread((tmp_path / "info.log").rename, tmp_path / "info.log.old")

    await plugin.reconfigure(settings(tmp_path))
    await plugin.finished(request(), Outcome("refused", 404))
    await plugin.shutdown()

    assert {line["status"] for line in lines(tmp_path / "info.log")} >= {404}


async def test_new_settings_that_cannot_be_used_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    plugin = await started(tmp_path / "a")

    with pytest.raises(StartupRefused):
        await plugin.reconfigure(settings(tmp_path / "file"))
    await plugin.finished(request(), WHOLE)
    await plugin.shutdown()

    assert len(lines(tmp_path / "a" / "info.log")) == 1


async def test_files_are_rotated_by_size_and_number(tmp_path: Path) -> None:
    plugin = await started(tmp_path, max_bytes=2000, backups=2)

    for _ in range(50):
        await plugin.finished(request(), WHOLE)
    await plugin.shutdown()

    assert [path.name for path in files_in(tmp_path)] == ["error.log", "info.log", "info.log.1", "info.log.2"]
    assert all(path.stat().st_size <= 2000 for path in files_in(tmp_path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
async def test_c52_a_full_disk_delays_no_request(tmp_path: Path) -> None:
    for name in ("info.log", "error.log"):
        (tmp_path / name).symlink_to("/dev/full")
    plugin = await started(tmp_path)

    begin = time.monotonic()
    for _ in range(12_000):
        await plugin.finished(request(), Outcome("failed", 500))
    took = time.monotonic() - begin
    await plugin.shutdown()

    assert took < 5


async def test_people_see_the_same_in_words(capfd: pytest.CaptureFixture[str]) -> None:
    plugin = await started(None, console="auto")

    await plugin.finished(request(), WHOLE)
    await plugin.shutdown()

    assert "INFO    POST /v1/chat/completions 200 complete 1500.0 ms" in capfd.readouterr().err


def test_off_without_quotes_is_off() -> None:
    """YAML reads it as a false."""
    assert Logging.Settings.model_validate({"console": False}).console == "off"


@pytest.mark.parametrize("wrong", [{"level": "loud"}, {"console": "pink"}, {"max_bytes": -1}, {"folder": "logs"}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Logging.Settings.model_validate(wrong)


def test_the_shipped_settings_write_to_logs_and_no_content() -> None:
    shipped = Logging.Settings()

    assert shipped.directory == Path("logs")
    assert not shipped.log_content


def test_the_page_shows_every_setting_with_its_default() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "logging.md").read_text("utf-8")
    shown = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])["plugins"][0]["logging"]

    assert list(shown) == list(Logging.Settings.model_fields)
    assert Logging.Settings.model_validate(shown) == Logging.Settings()
