"""The small talk is sensible, varied and repeatable."""

from typing import Any

import pytest

from tornado_gateway.testing import FakeModel
from tornado_gateway.testing.native import NativeRequest
from tornado_gateway.testing.smalltalk import complete, reply, think

MODEL = FakeModel("llama3.2")


def said(text: str, key: str = "0", **message: Any) -> str:
    messages = [{"role": "user", "content": text, **message}]
    return reply(NativeRequest("/api/chat", "llama3.2", messages=messages), MODEL, key)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("Count from one to three in words.", "one, two, three."),
        ("Please count to 5", "1, 2, 3, 4, 5."),
        ("What is 6 * 7?", "6 * 7 is 42."),
        ("1/0", "1 / 0 is undefined."),
        ("Say hi.", "Hi."),
        ("Repeat exactly: naïve café 日本 😀", "naïve café 日本 😀"),
        ("Say this is a test", "This is a test"),
    ],
)
def test_what_it_knows_it_says(question: str, answer: str) -> None:
    assert said(question) == answer


def test_it_greets_and_tells_what_it_is() -> None:
    assert "help" in said("Hello!") or "do for you" in said("Hello!") or "talk about" in said("Hello!")
    assert "llama3.2:latest" in said("Who are you?")


def test_of_anything_else_it_repeats_the_question_and_counts_its_words() -> None:
    assert "You wrote 3 words: “Bees make honey”" in said("Bees make honey")
    assert "You wrote 1 word:" in said("Bees")
    assert said("")


def test_another_key_may_choose_other_words_and_the_same_key_the_same() -> None:
    keys = [f"{number:016x}" for number in range(0, 4096, 256)]

    assert len({said("Bees make honey", key) for key in keys}) > 1
    assert said("Bees", "ff") == said("Bees", "ff")


def test_a_long_story_is_longer() -> None:
    assert len(said("Tell me a long story.")) > 3 * len(said("Tell me a story.")) > 900


def test_it_sees_what_kind_of_picture_it_got() -> None:
    assert "a PNG picture of 8 bytes" in said("What is this?", images=[b"\x89PNG\r\n\x1a\n"])
    assert "a WAV recording" in said("", images=[b"RIFF\0\0\0\0WAVE"])


def test_every_result_of_a_tool_is_told() -> None:
    results = [{"role": "tool", "tool_name": name, "content": text} for name, text in (("a", "20"), ("b", "30"))]
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}, *results]

    text = reply(NativeRequest("/api/chat", "m", messages=messages), MODEL, "0")

    assert text == "I have looked it up: a says 20; b says 30."


def test_code_is_put_between_prefix_and_suffix() -> None:
    assert "result" in complete(NativeRequest("/api/generate", "m", prompt="def f(", suffix="return"), MODEL, "0")


def test_thoughts_are_about_the_question() -> None:
    assert "Bees" in think("Bees")
