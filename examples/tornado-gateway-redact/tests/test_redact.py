"""Through a real gateway, in front of a simulated Ollama."""

import json

import pytest

from tornado_gateway.testing import Behaviour, say

PIECES = ["Call +49 ", "30 12", "34567 or ", "me@exam", "ple.org, pay ", "4111 1111 ", "1111 1111."]
CLEAN = "Call [phone] or [email], pay [card]."


@pytest.mark.parametrize("stream", [False, True])
def test_answers_are_clean_streamed_and_not(gateway, fake_ollama, stream):
    fake_ollama.next(Behaviour(pieces=PIECES))

    assert gateway(plugins=["redact"]).chat("Hello", stream=stream).text == CLEAN


@pytest.mark.parametrize("stream", [False, True])
def test_completions_are_clean_too(gateway, fake_ollama, stream):
    fake_ollama.next(Behaviour(pieces=PIECES))

    answer = gateway(plugins=["redact"]).request(
        "POST", "/v1/completions", {"model": "llama3.2", "prompt": "Hello", "stream": stream}
    )

    texts = [event["choices"][0]["text"] for event in answer.events] if stream else [answer.json()["choices"][0]["text"]]
    assert "".join(texts) == CLEAN


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_are_clean(gateway, fake_ollama, stream):
    fake_ollama.next(say("Done.", thinking="She is at me@example.org"))

    answer = gateway(plugins=["redact"]).chat("Hello", model="qwen3", stream=stream, reasoning_effort="high")

    assert b"example.org" not in answer.body
    assert b"[email]" in answer.body
    assert answer.text == "Done."


@pytest.mark.parametrize("stream", [False, True])
def test_arguments_of_calls_are_clean(gateway, fake_ollama, stream):
    arguments = {"to": ["me@example.org"], "account": {"iban": "DE89 3704 0044 0532 0130 00"}, "card": 4111111111111111, "n": 3}
    fake_ollama.next(say("", tool_calls=[{"name": "pay", "arguments": arguments}]))

    answer = gateway(plugins=["redact"]).chat("Hello", stream=stream)

    assert json.loads(answer.tool_arguments) == {"to": ["[email]"], "account": {"iban": "[iban]"}, "card": "[card]", "n": 3}


def test_kinds_and_words_are_settings(gateway, fake_ollama):
    fake_ollama.next(say("me@example.org, +49 30 1234567"))
    settings = {"kinds": ["email"], "replacement": "({kind} taken out)"}

    assert gateway(plugins=[{"redact": settings}]).chat("Hello").text == "(email taken out), +49 30 1234567"


def test_an_answer_of_the_cache_is_clean_for_everybody(gateway, fake_ollama):
    served = gateway(plugins=["redact", "cache"])
    fake_ollama.next(say("me@example.org"))

    answers = [served.chat("Hello"), served.chat("Hello")]

    assert [answer.headers["x-cache"] for answer in answers] == ["miss", "hit"]
    assert [answer.text for answer in answers] == ["[email]", "[email]"]


def test_usage_and_the_reason_of_the_end_stay(gateway, fake_ollama):
    fake_ollama.next(say("me@example.org", prompt_tokens=7, eval_tokens=5, done_reason="length"))

    answer = gateway(plugins=["redact"]).chat("Hello").json()

    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] == 12


def test_embeddings_pass(gateway):
    answer = gateway(plugins=["redact"]).request(
        "POST", "/v1/embeddings", {"model": "nomic-embed-text", "input": "me@example.org"}
    )

    assert answer.status == 200


def test_new_settings_count_without_a_restart(gateway, fake_ollama):
    served = gateway(plugins=["redact"])
    served.reconfigure(plugins=[{"redact": {"kinds": []}}])
    fake_ollama.next(say("me@example.org"))

    assert served.chat("Hello").text == "me@example.org"
