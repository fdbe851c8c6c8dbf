"""`options` of a request: their types as Ollama checks them, and those that a loaded model cannot change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tornado_gateway.testing.refusals import Refusal, runner_refusal

_INTEGERS = {
    "num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "seed", "num_predict", "top_k", "repeat_last_n",
    "draft_num_predict",
}  # fmt: skip
_FLOATS = {"temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty"}
LOAD_TIME = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict")
"""A value that differs from the loaded runner's makes Ollama load the model anew, and so does going back."""
_MINIMUM_CONTEXT = 4


@dataclass(frozen=True, slots=True)
class Options:
    """The options that the simulation acts on; all others are checked and then have no effect."""

    num_ctx: int
    num_predict: int = -1
    num_keep: int = 4
    stop: tuple[str, ...] | None = None
    """None: the model's own."""
    seed: int | None = None
    temperature: float = 0.8
    load_time: Mapping[str, Any] | None = None

    @property
    def repeatable(self) -> bool:
        return self.temperature == 0 or self.seed is not None


def read_options(given: Mapping[str, Any], context_length: int, trained_for: int) -> Options:
    """Check names and types; unknown names are ignored, null is as good as absent. Raises `Refusal` (500)."""
    values = {name: value for name, value in given.items() if value is not None}
    for name, value in values.items():
        _check(name, value)
    if values.get("repeat_last_n", 0) < 0:
        raise runner_refusal("repeat_last_n must be >= 0")
    num_ctx = min(max(int(values.get("num_ctx", context_length)), _MINIMUM_CONTEXT), trained_for)
    seed = values.get("seed", -1)
    return Options(
        num_ctx=num_ctx,
        num_predict=_predictable(int(values.get("num_predict", -1)), num_ctx),
        num_keep=int(values.get("num_keep", 4)),
        stop=tuple(values["stop"]) if values.get("stop") else None,
        seed=int(seed) if seed >= 0 else None,
        temperature=float(values.get("temperature", 0.8)),
        load_time={"num_ctx": num_ctx, **{name: values[name] for name in LOAD_TIME[1:] if name in values}},
    )


def _check(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _INTEGERS and not number:
        raise Refusal(500, f'option "{name}" must be of type integer')
    if name in _FLOATS and not number:
        raise Refusal(500, f'option "{name}" must be of type float32')
    if name == "use_mmap" and not isinstance(value, bool):
        raise Refusal(500, f'option "{name}" must be of type boolean')
    if name == "stop":
        if not isinstance(value, list):
            raise Refusal(500, f'option "{name}" must be of type array')
        if not all(isinstance(item, str) for item in value):
            raise Refusal(500, f'option "{name}" must be of an array of strings')


def _predictable(num_predict: int, num_ctx: int) -> int:
    """Up to ten windows; 0 and below mean until the model ends by itself."""
    return min(num_predict, 10 * num_ctx) if num_predict > 0 else 10 * num_ctx
