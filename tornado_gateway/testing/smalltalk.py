"""A believable small talk for models that do not exist: short, sensible, varied, and the same for the same key. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tornado_gateway.testing.models import FakeModel
from tornado_gateway.testing.native import NativeRequest

_CAPITALS = {
    "austria": "Vienna", "brazil": "Brasília", "england": "London", "france": "Paris", "germany": "Berlin", "italy": "Rome",
    "japan": "Tokyo", "norway": "Oslo", "spain": "Madrid", "switzerland": "Bern", "the united states": "Washington, D.C.",
}  # fmt: skip
_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_GREETINGS = (
    "Hello! How can I help you today?",
    "Hi there! What would you like to talk about?",
    "Hello! It is good to hear from you. What can I do for you?",
)
_OPENINGS = (
    "That is a good question.",
    "Let me think about that for a moment.",
    "Thank you for asking.",
    "Here is what I can say about it.",
)
_CLOSINGS = (
    "A real model would tell you more, but every word of this one arrives in the same way.",
    "Ask me something else, and I will answer just as carefully.",
    "That is as far as a simulated model can see.",
)
_STORY = (
    "Once upon a time a small ship left the harbour before dawn.",
    "The wind was kind, and the crew sang while the coast grew thin behind them.",
    "On the third day they met a whale that was older than their maps.",
    "The captain wrote its position in the log and nobody believed her.",
    "At night the stars stood so low that the lookout reached for one.",
    "A storm came, stayed for an hour, and left without saying why.",
    "They mended the sail with a coat, and the coat held.",
    "In the end the ship came home with nothing in the hold but stories.",
)
_JOKE = "Why did the token cross the network? To get to the other side of the stream."
_POEM = "The terminal waits,\na cursor blinks in the dark:\none token, then rain."
_CODE = 'Here is a small function:\n\n```python\ndef greet(name: str) -> str:\n    return f"Hello, {name}!"\n```\n\nCall it with a name.'
_SUM = re.compile(r"(-?\d{1,9})\s*([-+*/x×])\s*(-?\d{1,9})")
_COUNT = re.compile(r"count(?: from (\w+))?(?: up)? to (\w+)", re.IGNORECASE)
_CAPITAL = re.compile(r"capital of ([A-Za-z ]+?)(?: is)?[?.!,]*$", re.IGNORECASE)
_REPEAT = re.compile(
    r"^(?:please )?(?:repeat|say|echo|answer|reply)\b(?: exactly| with| only| just| after me)*:? +(.+)$",
    re.IGNORECASE | re.DOTALL,
)
_GREETING = re.compile(r"^(?:hi|hello|hey|good (?:morning|evening|day)|hallo|bonjour)\b[^?]{0,20}$", re.IGNORECASE)
_WHO = re.compile(r"\b(?:who|what) are you\b|\byour name\b|\bwhich model\b", re.IGNORECASE)


def reply(request: NativeRequest, model: FakeModel, key: str) -> str:
    """What the model says to a chat."""
    last: Mapping[str, Any] = request.messages[-1]
    if last["role"] == "tool":
        return _about_results(request.messages)
    images = last.get("images", ())
    if images:
        return _about_images(images, last["content"])
    return _say(last["content"] if last["role"] == "user" else request.last_text, model, key)


def complete(request: NativeRequest, model: FakeModel, key: str) -> str:
    """What the model says to a prompt: code between a prefix and a suffix, what follows a raw prompt, else a reply."""
    if request.suffix:
        return "    result = compute(value)\n    "
    if request.images:
        return _about_images(request.images, request.prompt)
    said = _say(request.prompt, model, key)
    return " " + said if request.raw else said


def think(text: str) -> str:
    """The thoughts before an answer."""
    return f"The user says: {_shortened(text)}. I should answer briefly and stay friendly."


def _say(text: str, model: FakeModel, key: str) -> str:
    text = text.strip()
    for answer in _ANSWERS:
        said = answer(text, model, key)
        if said:
            return said
    return _about(text, key)


def _pick(options: Sequence[str], key: str, shift: int = 0) -> str:
    return options[(int(key, 16) >> shift) % len(options)]


def _greet(text: str, _: FakeModel, key: str) -> str:
    return _pick(_GREETINGS, key) if _GREETING.search(text) else ""


def _introduce(text: str, model: FakeModel, _: str) -> str:
    if not _WHO.search(text):
        return ""
    return f"I am {model.full_name}, played by a simulated Ollama. No weights are loaded, but the words come one by one."


def _count(text: str, _: FakeModel, __: str) -> str:
    found = _COUNT.search(text)
    if not found:
        return ""
    first, last = (_number(word or "one") for word in found.groups())
    if first is None or last is None or not 0 <= last - first <= 1000:
        return ""
    in_words = "word" in text.lower() and last < len(_NUMBERS)
    return ", ".join(_NUMBERS[n] if in_words else str(n) for n in range(first, last + 1)) + "."


def _number(word: str) -> int | None:
    if word.isdecimal():
        return int(word[:6])
    return _NUMBERS.index(word.lower()) if word.lower() in _NUMBERS else None


def _calculate(text: str, _: FakeModel, __: str) -> str:
    found = _SUM.search(text)
    if not found:
        return ""
    left, sign, right = int(found[1]), found[2], int(found[3])
    if sign == "/":
        result = f"{left / right:g}" if right else "undefined"
    else:
        result = str({"+": left + right, "-": left - right}.get(sign, left * right))
    return f"{left} {sign} {right} is {result}."


def _locate(text: str, _: FakeModel, __: str) -> str:
    found = _CAPITAL.search(text)
    capital = _CAPITALS.get(found[1].strip().lower()) if found else None
    return f"The capital of {found[1].strip()} is {capital}." if found and capital else ""


def _repeat(text: str, _: FakeModel, __: str) -> str:
    found = _REPEAT.search(text)
    said = found[1].strip().strip("\"'“”") if found else ""
    return said[:1].upper() + said[1:] if said and "exactly" not in text.lower() else said


def _perform(text: str, _: FakeModel, key: str) -> str:
    lowered = text.lower()
    if "story" in lowered:
        lines = _STORY * (4 if "long" in lowered else 1)
        return " ".join(lines)
    if "joke" in lowered:
        return _JOKE
    if "poem" in lowered or "haiku" in lowered:
        return _POEM
    return _CODE if "function" in lowered or "python" in lowered else ""


_ANSWERS: tuple[Callable[[str, FakeModel, str], str], ...] = (
    _repeat, _greet, _introduce, _count, _calculate, _locate, _perform,
)  # fmt: skip


def _about(text: str, key: str) -> str:
    if not text:
        return f"{_pick(_GREETINGS, key)} You have not said anything yet."
    words = len(text.split())
    counted = f"You wrote {words} word{'s' if words != 1 else ''}"
    return f"{_pick(_OPENINGS, key)} {counted}: “{_shortened(text)}”. {_pick(_CLOSINGS, key, 8)}"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else line[:119] + "…"


def _about_results(messages: Sequence[Mapping[str, Any]]) -> str:
    """Every result since the user spoke last."""
    results = []
    for message in reversed(messages):
        if message["role"] == "user":
            break
        if message["role"] == "tool":
            results.append(f"{message.get('tool_name') or 'the tool'} says {_shortened(message['content']) or 'nothing'}")
    return f"I have looked it up: {'; '.join(reversed(results))}."


def _about_images(images: Sequence[bytes], text: str) -> str:
    seen = " and ".join(f"{_kind(image)} of {len(image)} bytes" for image in images)
    question = f" You asked: “{_shortened(text)}”." if text.strip() else ""
    return f"I see {seen}.{question} A real model would look closer."


def _kind(image: bytes) -> str:
    if image.startswith(b"RIFF") and image[8:12] == b"WAVE":
        return "a WAV recording"
    if image.startswith((b"ID3", b"\xff\xfb")):
        return "an MP3 recording"
    for magic, name in ((b"\x89PNG", "a PNG picture"), (b"\xff\xd8", "a JPEG picture"), (b"RIFF", "a WebP picture")):
        if image.startswith(magic):
            return name
    return "a picture"
