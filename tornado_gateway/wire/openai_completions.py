"""`POST /v1/completions` over Ollama's `/api/generate`: the model's template is applied, as Ollama's own layer does.

Each of `n` choices of each prompt is a native call of its own; choice `prompt * n + j`. `best_of` runs more of them and keeps the
likeliest. No limit of tokens is set that the caller or the operator did not ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from tornado_gateway.errors import InvalidRequest, UnsupportedValue
from tornado_gateway.wire.decode import check_range, decode_known, required, whole_number
from tornado_gateway.wire.dialect import Encoder, Limits, ModelFacts, Plan, Policy, Stamp
from tornado_gateway.wire.ignored import unused_fields
from tornado_gateway.wire.ollama import NativeCall, encode_json
from tornado_gateway.wire.openai_chat_think import Asked, thinking
from tornado_gateway.wire.openai_completions_encode import Answer, StreamEncoder, WholeEncoder
from tornado_gateway.wire.options import GivenOptions, Knobs, NativeOptions, native_keep_alive, native_options, read_knobs

_MAX_PREDICT = 2**31 - 1
_MAX_LOGPROBS = 20
"""Ollama's bound; OpenAI's is 5."""
_SEEDS = 2**63
_BYTES_A_TOKEN = 4


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class CompletionRequest(Knobs, frozen=True, kw_only=True):
    """Every field that has an effect here; all others are ignored and named."""

    model: str | None = None
    prompt: Any = None
    suffix: str | None = None
    best_of: int | float | None = None
    echo: bool | None = None
    logprobs: int | float | None = None
    max_tokens: int | float | None = None
    n: int | float | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    safety_identifier: str | None = None


KNOWN_FIELDS = frozenset(CompletionRequest.__struct_fields__)
IGNORED_FIELDS = frozenset({"logit_bias"})
"""OpenAI's fields without effect, whatever their value: a statement for the table of fates, not a filter."""


class _Exact(CompletionRequest, frozen=True, forbid_unknown_fields=True):
    """A request without fields that are ignored."""


_decoder: msgspec.json.Decoder[CompletionRequest] = msgspec.json.Decoder(CompletionRequest)
_exact: msgspec.json.Decoder[CompletionRequest] = msgspec.json.Decoder(_Exact)


class CompletionCall(msgspec.Struct, frozen=True):
    """One request, read and checked."""

    request: CompletionRequest
    options: GivenOptions
    prompts: tuple[str, ...]
    choices: int
    """`n`: choices for each prompt that the client gets."""
    runs: int
    """Choices for each prompt that are made: `best_of`, or `n`."""
    ignored: tuple[str, ...]
    body: bytes
    exact: bool
    """Whether every field of the body is known."""
    needs_facts: bool = True
    """Whether it fills in (`suffix`), what ends it, and whether it would think out of sight all depend on the model."""

    @property
    def model(self) -> str:
        return self.request.model or ""

    @property
    def stream(self) -> bool:
        return bool(self.request.stream)

    @property
    def user(self) -> str | None:
        return self.request.safety_identifier or self.request.user

    def plan(self, facts: ModelFacts, policy: Policy) -> Plan:
        _check_capabilities(self.request, facts)
        bound = whole_number(self.request.max_tokens, "max_tokens")
        options = native_options(self.options, policy, facts, num_predict=min(bound, _MAX_PREDICT) if bound else None)
        keep_alive, not_kept = native_keep_alive(self.request.keep_alive, policy)
        think, not_thought = _thinking(self.request, policy, facts)
        shared = {**self._shared(), "think": think, "keep_alive": keep_alive}
        calls = tuple(self._native_call(index, facts, options, shared) for index in range(len(self.prompts) * self.runs))
        found = (*self.ignored, *options.ignored, *not_kept, *not_thought)
        return Plan(calls, self._encoder(facts), unused_fields(self.body, KNOWN_FIELDS, found, exact=self.exact))

    def _shared(self) -> dict[str, Any]:
        """What all native calls of the request have in common; None where a field is not sent."""
        request = self.request
        return {
            "suffix": request.suffix or None,
            "format": None if request.format == "" else request.format,
            # Without it Ollama drops the beginning of a prompt that is too long, and nobody is told.
            "truncate": False,
            **self._logprobs(),
        }

    def _native_call(self, index: int, facts: ModelFacts, options: NativeOptions, shared: Mapping[str, Any]) -> NativeCall:
        prompt, choice = self.prompts[index // self.runs], index % self.runs
        return NativeCall(
            endpoint="/api/generate",
            model=facts.name,
            digest=facts.digest,
            body=_body(facts.name, prompt, _with_seed(options.values, choice), shared),
            stream=self.stream,
            index=index,
            deterministic=options.deterministic,
            prompt_tokens_estimate=(len(prompt.encode()) + len((self.request.suffix or "").encode())) // _BYTES_A_TOKEN + 1,
            max_tokens=options.max_tokens,
        )

    def _logprobs(self) -> dict[str, Any]:
        asked = whole_number(self.request.logprobs, "logprobs")
        if asked is None and self.runs == self.choices:
            return {}
        return {"logprobs": True, "top_logprobs": asked or None}

    def _encoder(self, facts: ModelFacts) -> Callable[[Stamp], Encoder]:
        options = self.request.stream_options
        answer = Answer(
            model=self.model,
            digest=facts.digest,
            prompts=self.prompts,
            choices=self.choices,
            runs=self.runs,
            echo=bool(self.request.echo),
            logprobs=whole_number(self.request.logprobs, "logprobs"),
            include_usage=options is not None and options.include_usage is True,
        )
        return partial(StreamEncoder if self.stream else WholeEncoder, answer)


class CompletionsDialect:
    """OpenAI's completions, the older of its two ways to make text."""

    def parse(self, body: bytes, limits: Limits) -> CompletionCall:
        request, exact = decode_known(body, _exact, _decoder)
        if not request.model:
            raise required("model")
        prompts = _prompts(request.prompt)
        options = read_knobs(request, limits)
        if (whole_number(request.max_tokens, "max_tokens") or 0) < 0:
            raise InvalidRequest("`max_tokens` must not be negative.", param="max_tokens")
        check_range(whole_number(request.logprobs, "logprobs"), "logprobs", 0, _MAX_LOGPROBS)
        choices, runs = _choices(request, len(prompts), limits)
        return CompletionCall(request, options, prompts, choices, runs, tuple(_without_effect(request)), body, exact)


DIALECT = CompletionsDialect()


def _prompts(given: Any) -> tuple[str, ...]:
    """The prompts: one text, or a list of them. Ollama has no answer to an empty one: it would load the model and say nothing."""
    if given is None:
        raise required("prompt")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list):
        raise InvalidRequest("`prompt` must be a string or an array of strings.", param="prompt")
    for place, text in enumerate(texts):
        if isinstance(text, list) or (isinstance(text, int) and not isinstance(text, bool)):
            raise UnsupportedValue(
                "`prompt` holds token ids, which Ollama cannot complete: send the text itself.", param="prompt"
            )
        if not isinstance(text, str):
            raise InvalidRequest(f"`prompt[{place}]` must be a string.", param=f"prompt[{place}]")
    if not texts or "" in texts:
        raise InvalidRequest("`prompt` must not be empty: there is nothing to complete.", param="prompt")
    return tuple(texts)


def _choices(request: CompletionRequest, prompts: int, limits: Limits) -> tuple[int, int]:
    """How many choices of each prompt the client gets, and how many are made to choose from."""
    n, best_of = whole_number(request.n, "n"), whole_number(request.best_of, "best_of") or None
    check_range(n, "n", 1, limits.max_choices)
    check_range(best_of, "best_of", n or 1, limits.max_choices)
    choices = n or 1
    runs = best_of or choices
    if prompts * runs > limits.max_choices:
        param = "prompt" if prompts > 1 else "best_of" if best_of else "n"
        raise InvalidRequest(
            f"`prompt`, `n` and `best_of` ask for {prompts * runs} completions together; {limits.max_choices} are the most.",
            param=param,
        )
    if request.stream and runs > choices:
        raise InvalidRequest("`best_of` over `n` cannot be streamed: which is the best is known at the end.", param="best_of")
    return choices, runs


def _without_effect(request: CompletionRequest) -> list[str]:
    unused = [name for name in ("max_tokens", "best_of") if getattr(request, name) == 0]
    if request.stream_options is not None and not request.stream:
        unused.append("stream_options")
    elif request.stream_options is not None and request.stream_options.include_obfuscation:
        unused.append("stream_options.include_obfuscation")
    return unused


def _check_capabilities(request: CompletionRequest, facts: ModelFacts) -> None:
    able = facts.capabilities
    if able is None:
        return
    if "completion" not in able:
        raise UnsupportedValue("This model does not write text.", param="model")
    if request.suffix and "insert" not in able:
        raise UnsupportedValue("This model cannot fill in text before a suffix.", param="suffix")


def _thinking(request: CompletionRequest, policy: Policy, facts: ModelFacts) -> tuple[bool | str | None, tuple[str, ...]]:
    """What is sent as `think`, and the fields without effect.

    A model that can think does not unless it is asked to: the answer has no place for thoughts, and `max_tokens` would go into them.
    """
    if request.think is not None:
        return thinking(Asked(request.think, "think"), policy, facts)
    silent = policy.think is None and "thinking" in (facts.capabilities or ())
    return thinking(Asked(False if silent else None), policy, facts)


def _with_seed(options: Mapping[str, Any], choice: int) -> dict[str, Any]:
    """Each choice has another seed, or equal calls would give equal choices (and be answered once). The first has the caller's."""
    if choice == 0:
        return dict(options)
    seed = (options.get("seed", 0) + choice + _SEEDS) % (2 * _SEEDS) - _SEEDS
    return dict(sorted({**options, "seed": seed}.items()))


def _body(model: str, prompt: str, options: dict[str, Any], shared: Mapping[str, Any]) -> bytes:
    """Canonical bytes: fields in fixed order, what is not asked for is not there."""
    fields = {"model": model, "prompt": prompt, **shared, "options": options or None}
    try:
        return encode_json({name: value for name, value in fields.items() if value is not None})
    except RecursionError as error:
        raise InvalidRequest("`format` is nested too deeply.", param="format") from error
