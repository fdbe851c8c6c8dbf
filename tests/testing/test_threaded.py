"""The simulated Ollama in a thread, for tests without a loop."""

import http.client
import json

import pytest

from tornado_gateway.testing import OllamaThread, cut, say


def ask(port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    chat = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hi"}], "stream": False}
    try:
        connection.request("POST", "/api/chat", json.dumps(chat))
        response = connection.getresponse()
        return response.status, json.loads(response.read())["message"]["content"]
    finally:
        connection.close()


def test_in_a_thread_it_serves_tests_without_a_loop() -> None:
    with OllamaThread() as ollama:
        ollama.next(say("From a thread."), cut(after_records=0))
        assert ask(ollama.port) == (200, "From a thread.")
        with pytest.raises((http.client.IncompleteRead, http.client.RemoteDisconnected)):
            ask(ollama.port)

        ollama.wait_for(lambda ledger: ledger.connections_closed == 2)
        assert ollama.call(lambda fake: fake.ledger.requests_seen) == 2
        port = ollama.port
        ollama.stop()
        ollama.start()
        assert ask(port)[0] == 200


def test_what_fails_in_the_thread_is_raised_to_the_caller() -> None:
    with OllamaThread() as ollama, pytest.raises(KeyError):
        ollama.call(lambda fake: fake.remove_model("nope"))
