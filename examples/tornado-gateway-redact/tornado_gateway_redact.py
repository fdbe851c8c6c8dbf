"""Takes personal data out of answers: e-mail addresses, phone numbers, card numbers, IBANs.

Streamed or not, in words, thoughts and the arguments of tool calls. A number may come in several records, so text that could be the
beginning of one is held back until it is known. What the cache keeps is what Ollama said; it is redacted again on its way out.
Token probabilities are left out, since they spell the text.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict
from tornado_gateway_redact_patterns import PATTERNS, Stream, redacted

from tornado_gateway.hookspecs import Context, GatewayError, Message, NativeCall, Record, ToolCall, Transform, hookimpl

Kind = Literal["email", "phone", "card", "iban"]


class Redact:
    """Personal data is taken out of answers, also where it is cut over several tokens."""

    class Settings(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        kinds: tuple[Kind, ...] = ("email", "phone", "card", "iban")
        """What is taken out."""
        replacement: str = "[{kind}]"
        """What stands in its place; `{kind}` is `email`, `phone`, `card` or `iban`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @hookimpl
    async def reconfigure(self, settings: Settings) -> None:
        self._settings = settings

    @hookimpl
    async def transform(self, context: Context, call: NativeCall) -> Transform | None:
        if call.endpoint == "/api/embed" or not self._settings.kinds:
            return None
        words: dict[str, str] = {
            kind: self._settings.replacement.replace("{kind}", kind) for kind in PATTERNS if kind in self._settings.kinds
        }
        return _Answer(words, chat=call.endpoint == "/api/chat")


class _Answer:
    """The records of one answer, one after the other."""

    def __init__(self, words: dict[str, str], *, chat: bool) -> None:
        self._words = words
        self._chat = chat
        self._text = Stream(words)
        self._thinking = Stream(words)

    def __call__(self, record: Record) -> Record:
        try:
            return self._redacted(record)
        except Exception as error:
            # Any other exception would let the record pass as it was.
            raise GatewayError("The answer could not be redacted.") from error

    def _redacted(self, record: Record) -> Record:
        if self._chat:
            message = record.message or Message()
            content, thinking = self._pass(message.content, message.thinking, record.done)
            changed = msgspec.structs.replace(
                message, content=content, thinking=thinking, tool_calls=self._calls(message.tool_calls)
            )
            return msgspec.structs.replace(record, message=changed, logprobs=None)
        response, thinking = self._pass(record.response, record.thinking, record.done)
        calls = self._calls(record.tool_calls)
        return msgspec.structs.replace(record, response=response, thinking=thinking, tool_calls=calls, logprobs=None)

    def _pass(self, text: str, thinking: str, done: bool) -> tuple[str, str]:
        thoughts = self._thinking.feed(thinking)
        if text or done:  # thoughts come before the words, and end with them
            thoughts += self._thinking.finish()
        words = self._text.feed(text)
        return (words + self._text.finish() if done else words), thoughts

    def _calls(self, calls: Any) -> tuple[ToolCall, ...] | None:
        if not calls:
            return None
        return tuple(
            msgspec.structs.replace(
                call,
                function=msgspec.structs.replace(call.function, arguments=self._value(call.function.arguments)),
            )
            for call in calls
        )

    def _value(self, value: Any) -> Any:
        """Arguments come whole: no text of theirs goes on in the next record."""
        match value:
            case str():
                return redacted(value, self._words)
            case dict():
                return {redacted(key, self._words): self._value(inner) for key, inner in value.items()}
            case list():
                return [self._value(inner) for inner in value]
            case bool() | None:
                return value
            case int():
                changed = redacted(str(value), self._words)
                return value if changed == str(value) else changed
            case _:
                return value
