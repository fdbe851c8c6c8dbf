"""`docs/testing.md` tells of all that there is."""

import http.client
import json
import re
import shlex
import urllib.request
from dataclasses import fields
from pathlib import Path
from typing import Any

from rawpeer import call, chat

from tornado_gateway import testing
from tornado_gateway.testing import Behaviour, Ledger, OllamaProcess, RequestEntry

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text("utf-8")
COMMANDS = (Path(testing.__file__).parent / "control.py").read_text("utf-8")


def test_every_field_of_a_behaviour_is_told() -> None:
    assert [field.name for field in fields(Behaviour) if f"`{field.name}`" not in PAGE] == []


def test_every_command_is_told() -> None:
    commands = re.findall(r'case "(\w+) (\w+)"', COMMANDS)

    assert len(commands) >= 11
    assert [f"{method} {name}" for method, name in commands if f"`{method} /control/{name}" not in PAGE] == []


def test_what_is_told_of_the_ledger_exists() -> None:
    for name in ("answered", "left_at", "records_sent", "first_byte_at", "bytes_sent", "arrived_at"):
        assert name in {field.name for field in fields(RequestEntry)}
        assert f"`{name}`" in PAGE
    for name in ("requests_seen", "in_flight", "max_in_flight", "connections_opened", "connections_closed", "open_connections"):
        assert hasattr(Ledger(), name)
        assert f"`{name}`" in PAGE


def test_public_names_exist() -> None:
    assert all(hasattr(testing, name) for name in testing.__all__)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


async def test_the_example_of_the_simulation_alone_runs() -> None:
    example = next(block for block in blocks("python") if "FakeOllama" in block)
    code = re.sub(r"\.\.\.  # let the gateway call .*", 'await call(ollama.port, "POST", "/api/chat", chat())', example)
    names: dict[str, Any] = {"call": call, "chat": chat}

    exec(code, names)  # the page is ours

    await names["test_something"]()


def test_the_commands_of_the_page_run() -> None:
    lines = [shlex.split(line) for line in blocks("sh")[-1].splitlines() if line.startswith("curl")]
    answers = []
    with OllamaProcess() as ollama:
        for line in lines:
            url = next(word for word in line if "localhost" in word).replace("localhost:11435", f"127.0.0.1:{ollama.port}")
            data = line[line.index("-d") + 1].encode() if "-d" in line else None
            with urllib.request.urlopen(f"http://{url}", data, timeout=5) as response:
                try:
                    answers.append(response.read())
                except http.client.IncompleteRead as cut_as_told:
                    answers.append(cut_as_told.partial)

    assert answers[0] == b"{}"
    assert b"one" in answers[1]
    assert b'"done":true' not in answers[1]
    assert json.loads(answers[2])["requests_seen"] == 1
