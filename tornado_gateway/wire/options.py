"""Sampling and Ollama's own knobs, the same in every dialect: a client's fields and the operator's policy to native `options`.

A dialect's request inherits `Knobs`; its `parse` calls `read_knobs`, its `plan` the `native_` functions. What a caller may
not set is never sent, and is named in what they return.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec

from tornado_gateway.errors import InvalidRequest
from tornado_gateway.wire.decode import check_range, whole_number
from tornado_gateway.wire.dialect import Limits, ModelFacts, Policy

LOAD_TIME = frozenset({"draft_num_predict", "main_gpu", "num_batch", "num_ctx", "num_gpu", "num_thread", "use_mmap"})
"""Options whose change makes Ollama load the model anew, for everybody: callers set them only where the operator allows it."""

_INTEGERS = LOAD_TIME - {"use_mmap"} | {"num_keep", "num_predict", "repeat_last_n", "seed", "top_k"}
_NUMBERS = frozenset({"frequency_penalty", "min_p", "presence_penalty", "repeat_penalty", "temperature", "top_p", "typical_p"})
_RANGES = {"temperature": (0, 2), "top_p": (0, 1), "frequency_penalty": (-2, 2), "presence_penalty": (-2, 2)}
_MAX_INT = 2**63 - 1

_DURATION = re.compile(r"[+-]?(?:(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(?:ns|us|µs|μs|ms|s|m|h))+|0", re.ASCII)
_MAX_KEEP_SECONDS = 10 * 365 * 86400.0
"""Absurd numbers overflow in Ollama and unload the model at once."""


class Knobs(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that chat and completions have in common, as clients write them; null means that a field is not given."""

    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | float | None = None
    stop: str | list[str] | None = None
    # Ollama's own, through the SDK's `extra_body`; those below `format` stand where OpenRouter, vLLM and many programs put them.
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None
    think: bool | str | None = None
    format: str | dict[str, Any] | None = None
    min_p: float | None = None
    num_ctx: int | float | None = None
    repeat_last_n: int | float | None = None
    repeat_penalty: float | None = None
    top_k: int | float | None = None
    typical_p: float | None = None


class GivenOptions(msgspec.Struct, frozen=True):
    """What a caller asks for, by Ollama's names: each value checked, and in its one spelling (1 or 1.0), so that equal calls have equal bytes."""

    fields: dict[str, Any] = {}
    """What stands in fields of its own, but for `stop`."""
    options: dict[str, Any] = {}
    """What stands in `options`."""
    stop: tuple[str, ...] = ()
    """The texts of the field `stop`, without empty ones: with such a one Ollama would stop before the first token."""

    @property
    def stops(self) -> bool:
        """Whether there are stop texts, so that those of the model are needed as well."""
        return bool(self.stop) or "stop" in self.options


class NativeOptions(msgspec.Struct, frozen=True):
    """What is sent as `options`, by name in alphabetical order, and which of the caller's fields have no effect."""

    values: dict[str, Any]
    ignored: tuple[str, ...] = ()

    @property
    def deterministic(self) -> bool:
        """Seed -1 is Ollama's word for another one each time."""
        return self.values.get("temperature") == 0 or self.values.get("seed", -1) != -1

    @property
    def max_tokens(self) -> int | None:
        bound: int = self.values.get("num_predict", 0)
        return bound if bound > 0 else None


_FIELDS = tuple(name for name in Knobs.__struct_fields__ if name in _INTEGERS or name in _NUMBERS)
_FREE = (_INTEGERS | _NUMBERS | {"stop"}) - LOAD_TIME
"""What every caller may set."""

_values = attrgetter(*_FIELDS)
_NOTHING_GIVEN = (None,) * len(_FIELDS)


def read_knobs(knobs: Knobs, limits: Limits) -> GivenOptions:
    """The options that are asked for. Raises `InvalidRequest` for a value that no model could take, in whichever knob."""
    values = _values(knobs)
    fields = {} if values == _NOTHING_GIVEN else _fields(values)
    stop = _texts("stop", knobs.stop) if knobs.stop else []
    if len(stop) > limits.max_stop:
        raise InvalidRequest(f"`stop` may hold {limits.max_stop} texts at most.", param="stop")
    options = _options(knobs.options, limits) if knobs.options else {}
    _check_others(knobs)
    return GivenOptions(fields, options, tuple(filter(None, stop)))


def _options(given: dict[str, Any], limits: Limits) -> dict[str, Any]:
    options = {name: _checked(name, value) for name, value in given.items() if value is not None}
    if len(options.get("stop", ())) > limits.max_stop:
        raise InvalidRequest(f"`options.stop` may hold {limits.max_stop} texts at most.", param="options.stop")
    return options


def _check_others(knobs: Knobs) -> None:
    if isinstance(knobs.format, str) and knobs.format not in ("", "json"):
        raise InvalidRequest('`format` must be "json" or a JSON schema.', param="format")
    if knobs.keep_alive is not None:
        _check_keep_alive(knobs.keep_alive)
    if isinstance(knobs.think, str) and knobs.think not in ("low", "medium", "high", "max"):
        raise InvalidRequest("`think` must be a boolean or one of low, medium, high and max.", param="think")


def native_stop(stop: str | Sequence[str], facts: ModelFacts) -> list[str]:
    """Stop texts and the model's own behind them: in Ollama a list replaces the model's. [] = leave them alone."""
    texts = [text for text in ([stop] if isinstance(stop, str) else stop) if text]
    return list(dict.fromkeys((*texts, *facts.stop))) if texts else []


def native_options(given: GivenOptions, policy: Policy, facts: ModelFacts, *, num_predict: int | None = None) -> NativeOptions:
    """The operator's options, over them the caller's `options`, over them the caller's OpenAI fields.

    Load-time options are the operator's unless `policy.allow` names them.
    """
    values = {name: value for name, value in policy.options.items() if value is not None}
    fields = given.fields if num_predict is None else {**given.fields, "num_predict": num_predict}
    ignored = []
    for name, value in given.options.items():
        if not _may_set(name, policy) or name in fields or (name == "stop" and given.stop):
            ignored.append(f"options.{name}")
        else:
            values[name] = value
    for name, value in fields.items():
        if _may_set(name, policy):
            values[name] = value
        else:
            ignored.append(name)
    if given.stop or "stop" in values:
        stop = native_stop(given.stop or values.pop("stop"), facts)
        if stop:
            values["stop"] = stop
    return NativeOptions(dict(sorted(values.items())), tuple(ignored))


def native_keep_alive(given: str | float | None, policy: Policy) -> tuple[str | float | None, tuple[str, ...]]:
    """What is sent as `keep_alive`, None for nothing; the caller's only where the operator allows it."""
    if given is None:
        return policy.keep_alive, ()
    if "keep_alive" in policy.allow:
        return given, ()
    return policy.keep_alive, ("keep_alive",)


def native_think(asked: bool | str | None, policy: Policy, facts: ModelFacts) -> bool | str | None:
    """What is sent as `think`, None for nothing: on a model that cannot think, asking for it must never be a failure."""
    if facts.capabilities is not None and "thinking" not in facts.capabilities:
        return None
    return policy.think if asked is None else asked


def _fields(values: Sequence[Any]) -> dict[str, Any]:
    fields = {name: _checked(name, value, name) for name, value in zip(_FIELDS, values, strict=True) if value is not None}
    for name, (low, high) in _RANGES.items():
        if name in fields:
            check_range(fields[name], name, low, high)
    return fields


def _may_set(name: str, policy: Policy) -> bool:
    return name in _FREE or (name in LOAD_TIME and name in policy.allow)


def _checked(name: str, value: Any, param: str | None = None) -> Any:
    """One of the caller's options in the type that Ollama wants."""
    param = param or f"options.{name}"
    if name in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidRequest(f"`{param}` must be a number.", param=param)
        return float(value)
    if name in _INTEGERS:
        return _integer(param, value)
    if name == "use_mmap" and not isinstance(value, bool):
        raise InvalidRequest(f"`{param}` must be a boolean.", param=param)
    if name == "stop":
        return _texts(param, value)
    return value


def _integer(param: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"`{param}` must be an integer.", param=param)
    check_range(value, param, -_MAX_INT - 1, _MAX_INT)
    return whole_number(value, param) or 0


def _texts(param: str, value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest(f"`{param}` must be a string or an array of strings.", param=param)
    return texts


def _check_keep_alive(value: float | str) -> None:
    if not isinstance(value, str):
        check_range(value, "keep_alive", -_MAX_KEEP_SECONDS, _MAX_KEEP_SECONDS)
    elif not _DURATION.fullmatch(value):
        raise InvalidRequest('`keep_alive` must be seconds or a duration such as "5m".', param="keep_alive")
