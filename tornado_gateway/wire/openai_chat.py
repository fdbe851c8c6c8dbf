"""OpenAI's chat completions as a dialect: a client's body to calls of `/api/chat`, checked before anything is sent.

What is read here does not depend on the model; what does (capabilities, stop texts, the operator's policy) waits for `plan`.
The parts have modules of their own: fields, messages, images, tools, schemas, think, and the two encoders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from tornado_gateway.errors import InvalidRequest, UnsupportedValue
from tornado_gateway.wire.decode import check_range, required, whole_number
from tornado_gateway.wire.dialect import Encoder, Limits, ModelFacts, Plan, Policy, Stamp
from tornado_gateway.wire.ignored import unused_fields
from tornado_gateway.wire.ollama import NativeCall
from tornado_gateway.wire.openai_chat_encode import Answer, StreamEncoder, WholeEncoder
from tornado_gateway.wire.openai_chat_fields import IGNORED_FIELDS, KNOWN_FIELDS, ChatMessage, ChatRequest, read_chat_request
from tornado_gateway.wire.openai_chat_format import output_format
from tornado_gateway.wire.openai_chat_messages import Conversation, NativeMessage, native_messages
from tornado_gateway.wire.openai_chat_schema import Budget
from tornado_gateway.wire.openai_chat_think import Asked, asked_thinking, thinking
from tornado_gateway.wire.openai_chat_tools import Toolbox, read_toolbox
from tornado_gateway.wire.openai_chat_turn import Reading
from tornado_gateway.wire.options import GivenOptions, native_keep_alive, native_options, read_knobs

__all__ = ["DIALECT", "IGNORED_FIELDS", "KNOWN_FIELDS", "ChatCall", "OpenAIChat"]

_MAX_PREDICT = 2**31 - 1
_SEEDS = 2**63
_BYTES_A_TOKEN = 4

_encode = msgspec.json.Encoder().encode


class OpenAIChat:
    """`POST /v1/chat/completions`."""

    def parse(self, body: bytes, limits: Limits) -> ChatCall:
        request, exact = read_chat_request(body)
        turns = _check(request, limits)
        options = read_knobs(request, limits)
        budget = Budget()
        toolbox = read_toolbox(request, limits, budget)
        constraint, unused_format = output_format(request, toolbox, budget)
        num_predict, unused_bounds = _token_bound(request)
        conversation = native_messages(turns)
        ignored = [*_without_effect(request, conversation), *toolbox.ignored, *unused_format, *unused_bounds]
        return ChatCall(
            request=request,
            model=request.model or "",
            stream=bool(request.stream),
            conversation=conversation,
            toolbox=toolbox,
            constraint=constraint,
            options=options,
            asked=asked_thinking(request),
            num_predict=num_predict,
            choices=1 if request.n is None else int(request.n),
            ignored=ignored,
            body=body,
            exact=exact,
        )


DIALECT = OpenAIChat()


class ChatCall(msgspec.Struct, frozen=True):
    """A chat request, read and checked."""

    request: ChatRequest
    model: str
    stream: bool
    conversation: Conversation
    toolbox: Toolbox
    constraint: str | dict[str, Any] | None
    """What is sent as `format`."""
    options: GivenOptions
    asked: Asked
    num_predict: int | None
    choices: int
    ignored: list[str]
    body: bytes
    exact: bool
    """Whether every field of the body is known."""

    @property
    def user(self) -> str | None:
        return self.request.safety_identifier or self.request.user

    @property
    def needs_facts(self) -> bool:
        talk = self.conversation
        asks = self.options.stops or self.toolbox.offers or talk.image_params or talk.audio_params
        return bool(asks or self.asked.value)

    def plan(self, facts: ModelFacts, policy: Policy) -> Plan:
        self._check_capabilities(facts)
        options = native_options(self.options, policy, facts, num_predict=self.num_predict)
        keep_alive, unused_keep_alive = native_keep_alive(self.request.keep_alive, policy)
        think, unused_think = thinking(self.asked, policy, facts)
        native = self._native(facts.name, options.values, keep_alive, think)
        bodies = [_packed(native)]
        for index in range(1, self.choices):
            native.options = _options_of(index, options.values)
            bodies.append(_packed(native))
        size = len(bodies[0]) - self.conversation.media_size
        calls = [
            NativeCall(
                endpoint="/api/chat",
                model=facts.name,
                digest=facts.digest,
                body=body,
                stream=self.stream,
                index=index,
                deterministic=options.deterministic,
                prompt_tokens_estimate=size // _BYTES_A_TOKEN + 1,
                max_tokens=options.max_tokens,
                tools=bool(native.tools),
            )
            for index, body in enumerate(bodies)
        ]
        ignored = [*self.ignored, *options.ignored, *unused_keep_alive, *unused_think]
        return Plan(tuple(calls), self._encoder(facts), unused_fields(self.body, KNOWN_FIELDS, ignored, exact=self.exact))

    def _native(self, model: str, options: dict[str, Any], keep_alive: Any, think: Any) -> _Native:
        request, messages = self.request, self.conversation.messages
        return _Native(
            model=model,
            # Messages are nearly all of a body: for several choices they are encoded once.
            messages=messages if self.choices == 1 else msgspec.Raw(_encode(messages)),
            tools=[offer.native for offer in self.toolbox.offers],
            format=self.constraint,
            think=think,
            options=options,
            keep_alive=keep_alive,
            truncate=False,
            logprobs=request.logprobs or None,
            top_logprobs=int(request.top_logprobs) if request.top_logprobs else None,
        )

    def _check_capabilities(self, facts: ModelFacts) -> None:
        able, talk = facts.capabilities, self.conversation
        if able is None:
            return
        if "completion" not in able:
            raise UnsupportedValue("This model does not chat.", param="model")
        if self.toolbox.offers and "tools" not in able:
            raise UnsupportedValue("This model does not support tools.", param=self.toolbox.field)
        for kind, needed, params in (("images", "vision", talk.image_params), ("audio", "audio", talk.audio_params)):
            if params and needed not in able:
                raise UnsupportedValue(f"This model does not support {kind}, and `{params[0]}` holds some.", param=params[0])

    def _encoder(self, facts: ModelFacts) -> Callable[[Stamp], Encoder]:
        box, request = self.toolbox, self.request
        spoken = frozenset([offer.name for offer in box.offers]) if self.constraint is not None else frozenset()
        usage = request.stream_options is not None and request.stream_options.include_usage is True
        reading = Reading(spoken, forced=box.forced, one_call=box.one_call, legacy=box.legacy)
        answer = Answer(self.model, facts.digest, self.choices, reading, include_usage=usage)
        return partial(StreamEncoder if self.stream else WholeEncoder, answer)


class _Native(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The request in fixed order; what has no content is not sent."""

    model: str
    messages: list[NativeMessage] | msgspec.Raw
    tools: list[Mapping[str, Any]] = []
    format: str | dict[str, Any] | None = None
    think: bool | str | None = None
    options: dict[str, Any] = {}
    keep_alive: str | float | None = None
    # Ever false: without it Ollama drops the beginning of a conversation that is too long, and nobody is told.
    truncate: bool
    logprobs: bool | None = None
    top_logprobs: int | None = None


def _check(request: ChatRequest, limits: Limits) -> list[ChatMessage]:
    """What must be there and the ranges of what is; the messages."""
    if not request.model:
        raise required("model")
    if not request.messages:
        raise InvalidRequest("`messages` must hold at least one message.", param="messages")
    if len(request.messages) > limits.max_messages:
        raise InvalidRequest(f"`messages` may hold {limits.max_messages} messages at most.", param="messages")
    if request.n is not None:
        check_range(whole_number(request.n, "n"), "n", 1, limits.max_choices)
    if request.top_logprobs is not None:
        check_range(whole_number(request.top_logprobs, "top_logprobs"), "top_logprobs", 0, 20)
    if request.top_logprobs and not request.logprobs:
        raise InvalidRequest("`top_logprobs` needs `logprobs` to be true.", param="top_logprobs")
    for kind in request.modalities or ():
        if kind != "text":
            raise UnsupportedValue(
                "`modalities` may hold text alone: Ollama's models answer in nothing else.", param="modalities"
            )
    return request.messages


def _token_bound(request: ChatRequest) -> tuple[int | None, list[str]]:
    """The bound on the answer's tokens, and the fields without effect: 0 means "not given", the newer name wins."""
    bound, unused = None, []
    for name, given in (("max_completion_tokens", request.max_completion_tokens), ("max_tokens", request.max_tokens)):
        if given is None:
            continue
        value = whole_number(given, name) or 0
        if value < 0:
            raise InvalidRequest(f"`{name}` must not be negative.", param=name)
        if value == 0 or bound is not None:
            unused.append(name)
        else:
            bound = min(value, _MAX_PREDICT)
    return bound, unused


def _without_effect(request: ChatRequest, conversation: Conversation) -> list[str]:
    unused = []
    if request.stream_options is not None and not request.stream:
        unused.append("stream_options")
    elif request.stream_options is not None and request.stream_options.include_obfuscation:
        unused.append("stream_options.include_obfuscation")
    if conversation.named:
        unused.append("messages.name")
    return unused


def _packed(native: _Native) -> bytes:
    """Canonical bytes: what is not asked for is not there."""
    try:
        return _encode(native)
    except RecursionError as error:
        raise InvalidRequest("The request is nested too deeply.") from error


def _options_of(index: int, options: dict[str, Any]) -> dict[str, Any]:
    """Each choice has another seed, or equal calls would give equal choices (and be answered once). The first has the caller's."""
    seed = (options.get("seed", 0) + index + _SEEDS) % (2 * _SEEDS) - _SEEDS
    return dict(sorted({**options, "seed": seed}.items()))
