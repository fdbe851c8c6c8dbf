"""What a model answers: a request and a behaviour to pieces of text, thoughts and tool calls. Pure.

The limits that Ollama keeps stand here too: stop sequences, `num_predict`, the window of the context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from tornado_gateway.testing import shapes, smalltalk, tokens, tooluse
from tornado_gateway.testing.behaviour import Behaviour
from tornado_gateway.testing.models import FakeModel
from tornado_gateway.testing.native import NativeRequest
from tornado_gateway.testing.options import Options
from tornado_gateway.testing.window import fitted

_TOOL_CALL_TOKENS = 15
_CLOSING_TAG_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """One record's worth."""

    content: str = ""
    thinking: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    pieces: tuple[Piece, ...]
    done_reason: str
    prompt_tokens: int
    eval_tokens: int


def compose(request: NativeRequest, model: FakeModel, options: Options, behaviour: Behaviour, salt: str) -> Answer:
    """The answer. With temperature 0 or a seed the same request gets the same answer; else `salt` varies it.

    Raises `Refusal` where the model's process would: a prompt over the window, a schema that it cannot read.
    """
    prompt_tokens = fitted(request, options)
    shaped = None if request.format is None or request.format == "" else shapes.answer(request.format, request.last_text)
    key = _key(request, options, salt)
    thoughts = _thoughts(request, model, behaviour)
    calls = _calls(request, behaviour, key)
    if behaviour.pieces is not None:
        said: Sequence[str] = [text for text in behaviour.pieces if text]
    elif calls and behaviour.text is None:
        said = []
    else:
        said = tokens.pieces(_text(request, model, behaviour, key, shaped))
    pieces, reason, eval_tokens = _limited(thoughts, said, calls, options)
    return Answer(
        pieces,
        behaviour.done_reason if behaviour.done_reason is not None else reason,
        behaviour.prompt_tokens if behaviour.prompt_tokens is not None else prompt_tokens,
        behaviour.eval_tokens if behaviour.eval_tokens is not None else eval_tokens,
    )


def _key(request: NativeRequest, options: Options, salt: str) -> str:
    chance = str(options.seed) if options.seed is not None else "0" if options.temperature == 0 else salt
    return blake2b(f"{chance}|{request.model}|{request.last_text}".encode("utf-8", "replace"), digest_size=8).hexdigest()


def _thoughts(request: NativeRequest, model: FakeModel, behaviour: Behaviour) -> Sequence[str]:
    if behaviour.thinking is not None:
        return tokens.pieces(behaviour.thinking) if request.think is not False else []
    if request.think is False or "thinking" not in model.capabilities:
        return []
    if behaviour.pieces is not None or behaviour.tokens is not None:
        return []
    return tokens.pieces(smalltalk.think(request.last_text))


def _calls(request: NativeRequest, behaviour: Behaviour, key: str) -> list[dict[str, Any]]:
    if behaviour.tool_calls is not None:
        return [tooluse.numbered(call, index, key) for index, call in enumerate(behaviour.tool_calls)]
    scripted = behaviour.text is not None or behaviour.pieces is not None or behaviour.tokens is not None
    if scripted or request.format or not request.tools or not request.messages:
        return []
    return [tooluse.numbered(call, index, key) for index, call in enumerate(tooluse.wanted(request.messages, request.tools))]


def _text(request: NativeRequest, model: FakeModel, behaviour: Behaviour, key: str, shaped: str | None) -> str:
    if behaviour.text is not None:
        return behaviour.text
    if behaviour.tokens is not None:
        return "word" + " word" * (behaviour.tokens - 1) if behaviour.tokens else ""
    if shaped is not None:
        return shaped
    if request.endpoint == "/api/generate":
        return smalltalk.complete(request, model, key)
    return smalltalk.reply(request, model, key)


def _limited(
    thoughts: Sequence[str], said: Sequence[str], calls: Sequence[dict[str, Any]], options: Options
) -> tuple[tuple[Piece, ...], str, int]:
    """What is left within `stop` and `num_predict`, why it ended, and how many tokens that took."""
    said, swallowed = _stopped(said, options.stop or ())
    limit = options.num_predict
    if len(thoughts) + len(said) >= limit:
        thoughts = thoughts[:limit]
        said = said[: limit - len(thoughts)]
        return _pieces(thoughts, said, ()), "length", limit
    spent = len(thoughts) + len(said)
    kept: list[dict[str, Any]] = []
    for call in calls:
        cost = _TOOL_CALL_TOKENS + tooluse.cost(call)
        if spent + cost - _CLOSING_TAG_TOKENS > limit:
            # A call that is cut in its JSON vanishes without a trace.
            return _pieces(thoughts, said, kept), "length", limit
        kept.append(call)
        spent += cost
        if spent > limit:
            return _pieces(thoughts, said, kept), "length", limit
    return _pieces(thoughts, said, kept), "stop", spent + swallowed + (0 if swallowed else 1)


def _pieces(thoughts: Sequence[str], said: Sequence[str], calls: Sequence[dict[str, Any]]) -> tuple[Piece, ...]:
    return (
        *(Piece(thinking=text) for text in thoughts),
        *map(_content, said),
        *(Piece(tool_calls=(call,)) for call in calls),
    )


@lru_cache(maxsize=8192)
def _content(text: str) -> Piece:
    """Made once for each word: a benchmark asks for millions."""
    return Piece(content=text)


def _stopped(said: Sequence[str], stop: Sequence[str]) -> tuple[Sequence[str], int]:
    """The pieces before the first stop sequence, and how many tokens that sequence took."""
    if not stop:
        return said, 0
    text = "".join(said)
    found = [(position, sequence) for sequence in stop if (position := text.find(sequence)) >= 0]
    if not found:
        return said, 0
    position, sequence = min(found, key=lambda item: (item[0], -len(item[1])))
    kept: list[str] = []
    for piece in said:
        room = position - sum(map(len, kept))
        if room <= 0:
            break
        kept.append(piece[:room])
    return kept, max(1, tokens.count(sequence))
