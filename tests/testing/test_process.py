"""The simulated Ollama as a program, in a thread, and its remote control."""

import http.client
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tornado_gateway.testing import Behaviour, OllamaProcess, cut, fail, hang, say

SAID = "Said by the program."


@pytest.fixture(scope="module")
def process() -> Iterator[OllamaProcess]:
    with OllamaProcess("--text", SAID) as running:
        yield running


@pytest.fixture
def ollama(process: OllamaProcess) -> Iterator[OllamaProcess]:
    yield process
    process.unscript()
    process.set_defaults(say(SAID))
    process.clear_ledger()


def ask(port: int, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    chat = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hi"}], "stream": False}
    try:
        connection.request("POST", "/api/chat", json.dumps(body or chat))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_the_program_answers_as_its_options_say(ollama: OllamaProcess) -> None:
    status, answer = ask(ollama.port)

    assert (status, answer["message"]["content"]) == (200, SAID)


def test_it_is_scripted_from_afar(ollama: OllamaProcess) -> None:
    ollama.next(fail(500, "as told"), Behaviour(raw=b"HTTP/1.0 299 Raw\r\n\r\n{}"))
    ollama.script(say("By text."), text="special", times=None)

    assert ask(ollama.port) == (500, {"error": "as told"})
    assert ask(ollama.port) == (299, {})
    special = {"model": "llama3.2", "messages": [{"role": "user", "content": "special"}], "stream": False}
    assert ask(ollama.port, special)[1]["message"]["content"] == "By text."


def test_its_ledger_counts_traffic_and_not_commands(ollama: OllamaProcess) -> None:
    before = time.monotonic()
    ask(ollama.port)
    ollama.wait("connections_closed", at_least=1)

    ledger = ollama.ledger()
    assert (ledger["requests_seen"], ledger["connections_opened"], ledger["open_connections"]) == (1, 1, 0)
    assert ledger["requests"][0]["body"]["model"] == "llama3.2"
    assert before < ledger["requests"][0]["arrived_at"] < time.monotonic(), "both clocks are CLOCK_MONOTONIC"


def test_models_and_defaults_change_from_afar(ollama: OllamaProcess) -> None:
    ollama.control("POST", "models", {"name": "extra", "capabilities": ["completion"]})
    with urllib.request.urlopen(f"{ollama.url}/api/tags", timeout=5) as response:
        assert "extra:latest" in {model["name"] for model in json.load(response)["models"]}
    ollama.remove_model("extra")

    ollama.set_defaults(say("Anew."))
    assert ask(ollama.port)[1]["message"]["content"] == "Anew."


def test_killing_it_ends_its_connections() -> None:
    with OllamaProcess() as ollama:
        ollama.next(hang(after_records=1))
        connection = http.client.HTTPConnection("127.0.0.1", ollama.port, timeout=5)
        connection.request(
            "POST", "/api/chat", json.dumps({"model": "llama3.2", "messages": [{"role": "user", "content": "Hi"}]})
        )
        response = connection.getresponse()
        assert response.readline()
        ollama.kill()

        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
        connection.close()


def test_a_port_that_is_taken_is_one_clear_line(ollama: OllamaProcess) -> None:
    command = [sys.executable, "-m", "tornado_gateway.testing", "--port", str(ollama.port)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("Error: Cannot listen at 127.0.0.1:")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("reset", [False, True])
def test_the_program_cuts_and_notices_leaving_whatever_loop_it_runs_on(ollama: OllamaProcess, reset: bool) -> None:
    ollama.next(cut(after_records=1, reset=reset), hang(after_records=1))
    with pytest.raises(ConnectionResetError if reset else http.client.IncompleteRead):
        stream(ollama.port).read()

    response = stream(ollama.port)
    assert response.readline()
    response.close()
    ollama.wait("in_flight", at_most=0)

    entry = ollama.ledger()["requests"][-1]
    assert entry["left_at"] is not None
    assert entry["records_sent"] == 1


def stream(port: int) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    body = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hi"}]}
    connection.request("POST", "/api/chat", json.dumps(body), {"Connection": "close"})
    return connection.getresponse()
