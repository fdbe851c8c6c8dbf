"""What a process without the logging plugin says on standard error."""

import io
import logging
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import LOG, Program, chat, install_plugin, program, until, write_config

from tornado_gateway import lastresort
from tornado_gateway.lastresort import LastResort, line_of
from tornado_gateway.testing import FakeOllama
from tornado_gateway_logging_redaction import _SECRET as OF_THE_PLUGIN

FAULTY = """
import time
from pydantic import BaseModel
from tornado_gateway.hookspecs import hookimpl

class Plugin:
    class Settings(BaseModel):
        blocks: bool = False

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    async def reconfigure(self, settings):
        self.settings = settings

    @hookimpl
    async def admit(self, context):
        if self.settings.blocks:
            time.sleep(0.15)
        else:
            raise RuntimeError("canary")

    @hookimpl
    async def shutdown(self):
        raise RuntimeError("canary")
"""


def record(name: str, message: str, *arguments: Any, error: BaseException | None = None, **facts: Any) -> logging.LogRecord:
    raised = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord(name, logging.ERROR, "", 0, message, arguments, raised)
    if facts:
        made.facts = facts
    return made


def said(made: logging.LogRecord) -> str:
    """Without the time of day."""
    moment, _, line = line_of(made).partition(" ")
    assert re.fullmatch(r"\d\d:\d\d:\d\d", moment)
    return line


def of_core(**facts: Any) -> str:
    return said(record("tornado_gateway.x", "event", **facts)).removeprefix("ERROR   event logger=tornado_gateway.x ")


async def wait_for(running: Program, event: str) -> str:
    """The one line that tells of the event."""
    await until(lambda: [line for line in running.errors if f" {event} " in line])
    (line,) = [line for line in running.errors if f" {event} " in line]
    return line


@pytest.mark.parametrize("workers", [1, 2])
async def test_c09_events_have_their_facts_and_exceptions_no_message(tmp_path: Path, workers: int) -> None:
    install_plugin(tmp_path, "faulty", FAULTY)
    async with FakeOllama() as ollama, program(tmp_path, ollama.url, workers=workers, plugins=["faulty"]) as running:
        assert (await running.ask(body=chat(stream=False))).status == 503
        failed = await wait_for(running, "hook_failed")

        write_config(running.config, ollama.url, plugins=[{"faulty": {"blocks": True}}])
        running.signal(signal.SIGHUP)
        while (await running.ask(body=chat(stream=False))).status != 200:
            pass
        slow = await wait_for(running, "hook_slow")

        write_config(running.config, ollama.url, plugins=[{"faulty": {"blocks": "canary"}}, "nope"])
        running.signal(signal.SIGHUP)
        refused = await wait_for(running, "reload_refused")

    assert "ERROR" in failed
    assert "plugin=faulty hook=admit exception_type=RuntimeError exception_at=" in failed
    assert re.search(r"faulty_plugin\.py:\d+ in admit\"$", failed.strip())
    assert re.search(r"plugin=faulty hook=admit ms=\d+\.\d times=1$", slow.strip())
    assert "blocks: must be true or false" in refused
    assert "is not installed" in refused
    assert "canary" not in "".join(running.errors)


async def test_where_the_logging_plugin_listens_only_it_speaks(tmp_path: Path) -> None:
    """Until it has stopped: a plugin before it in the list stops behind it."""
    install_plugin(tmp_path, "faulty", FAULTY)
    async with (
        FakeOllama() as ollama,
        program(tmp_path, ollama.url, plugins=["faulty", {"logging": {**LOG["logging"], "console": "off"}}]) as running,
    ):
        await running.ask(body=chat(stream=False))
        await until(lambda: running.events("hook_failed"))
        running.signal(signal.SIGTERM)
        await running.exit()

    (line,) = running.errors
    assert "hook_failed" in line
    assert "hook=shutdown exception_type=RuntimeError" in line


def test_who_embeds_the_gateway_has_pythons_own_last_resort() -> None:
    code = (
        "import logging, tornado_gateway.server, tornado_gateway.cli.serve as serve; print(type(logging.lastResort).__name__)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout == "_StderrHandler\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("word", "word"),
        (5, "5"),
        (["a", "b"], '"a, b"'),
        ("two\nlines", '"two\\nlines"'),
        ("\x1b[2J\u2028\udc80é", '"\\u001b[2J\\u2028\\udc80\\u00e9"'),
        ("a=b", '"a=b"'),
        ("", '""'),
        (object(), "object"),
        (ValueError("canary"), "ValueError"),
        (OSError(28, "No space left on device"), '"OSError (No space left on device)"'),
        ({"canary": 1}, "dict"),
        ("x" * 1000, "x" * 500),
    ],
)
def test_a_fact_is_one_line_of_ascii(value: Any, shown: str) -> None:
    assert of_core(fact=value) == f"fact={shown}"


def test_what_looks_like_a_key_is_cut_as_in_the_log() -> None:
    assert of_core(reason="with Bearer canary") == 'reason="with [redacted]"'
    assert re.sub(r"\s+|#.*", "", lastresort._SECRET.pattern) == re.sub(r"\s+|#.*", "", OF_THE_PLUGIN.pattern)


def test_an_exception_is_told_with_its_causes() -> None:
    try:
        try:
            raise OSError(2, "No such file")
        except OSError as cause:
            raise RuntimeError("canary") from cause
    except RuntimeError as error:
        line = said(record("tornado_gateway.x", "event", error=error, plugin="a"))

    assert 'plugin=a exception_type="RuntimeError <- FileNotFoundError (No such file)" exception_at="tests/' in line
    assert "canary" not in line


@pytest.mark.parametrize(
    ("logger", "message", "arguments", "event"),
    [
        ("tornado.general", "Malformed: %s", ("canary",), '"Malformed: \\u2026"'),
        ("asyncio", "Task exception was never retrieved\nfuture: <canary>", (), '"Task exception was never retrieved"'),
        ("asyncio", "Exception in callback f('canary')", (), '"Exception in callback f\\u2026"'),
        ("tornado_gateway.plugins.mine", "lost %s", ("canary",), '"lost \\u2026"'),
        ("a.stranger", "lost %s", ("five",), '"lost five"'),
    ],
)
def test_c09_of_others_the_wording_comes(logger: str, message: str, arguments: Any, event: str) -> None:
    assert said(record(logger, message, *arguments)) == f"ERROR   {event} logger={logger}"


def test_a_record_that_cannot_be_told_is_told_by_its_logger(capsys: pytest.CaptureFixture[str]) -> None:
    LastResort().emit(record("a.stranger", "%d", "canary"))

    assert capsys.readouterr().err == "ERROR log_event_failed logger=a.stranger\n"


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_where_nobody_can_read_it_is_silent(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None) -> None:
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)

    LastResort().emit(record("tornado_gateway.x", "event"))
