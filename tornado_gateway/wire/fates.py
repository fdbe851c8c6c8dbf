"""What becomes of every field of a request: the table behind `docs/openai.md`.

A statement that tests compare with what `parse` and `plan` really do and with the fields of the installed `openai` package, so that a
new field of OpenAI's turns the suite red. No dialect reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    TRANSLATED = "translated"
    """Ollama gets it, in its own words."""
    GATEWAY = "done by the gateway"
    """Ollama has nothing like it; the gateway makes it true."""
    IGNORED = "ignored and named"
    """No effect, and no wrong answer without one: it stands in `X-Ignored-Params`."""
    REFUSED = "refused"
    """400 with this field in `param`."""


@dataclass(frozen=True, slots=True)
class Row:
    field: str
    fate: Fate
    note: str
    """One sentence or more."""
    extra: bool = False
    """Not a field of OpenAI's: through the SDK's `extra_body`."""


def markdown(rows: Iterable[Row]) -> str:
    """The rows as a table; fields that are not OpenAI's carry a star."""
    lines = ["| field | fate | |", "|---|---|---|"]
    for row in rows:
        star = r" \*" if row.extra else ""
        note = row.note.replace("|", r"\|")
        lines.append(f"| `{row.field}`{star} | {row.fate} | {note} |")
    return "\n".join(lines)


_T, _G, _I, _R = Fate.TRANSLATED, Fate.GATEWAY, Fate.IGNORED, Fate.REFUSED

_TEMPERATURE = Row("temperature", _T, "`options.temperature`, 0 to 2; without it the model's own default holds.")
_TOP_P = Row("top_p", _T, "`options.top_p`, 0 to 1; without it the model's own default holds.")
_FREQUENCY = Row("frequency_penalty", _T, "`options.frequency_penalty`, -2 to 2.")
_PRESENCE = Row("presence_penalty", _T, "`options.presence_penalty`, -2 to 2.")
_SEED = Row("seed", _T, "`options.seed`; each further choice gets the next number.")
_STOP = Row("stop", _T, "`options.stop`, a text or a list; the model's own stop texts are kept, empty texts are left out.")
_MODEL = Row("model", _G, "An alias or a name of Ollama's; without a tag `latest` is meant.")
_STREAM = Row("stream", _T, "`stream`; null and false are the same.")
_STREAM_OPTIONS = Row("stream_options", _G, "Ignored and named on a call that is not streamed.")
_INCLUDE_USAGE = Row("stream_options.include_usage", _G, "The last chunk has `usage` and no choices, all others `usage: null`.")
_OBFUSCATION = Row("stream_options.include_obfuscation", _I, "Chunks are never padded.")
_USER = Row("user", _G, "For the log; Ollama never gets it.")
_SAFETY = Row("safety_identifier", _G, "For the log, before `user`; Ollama never gets it.")
_LOGIT_BIAS = Row("logit_bias", _I, "Ollama cannot weigh single tokens.")

_KNOBS = (
    Row("options", _T, "Ollama's options by name, below the OpenAI fields; what makes Ollama load the model anew (`num_ctx`, `num_gpu`, …) is the operator's unless he allows it, then and for unknown names `options.NAME` is named as ignored.", extra=True),
    Row("keep_alive", _T, "Seconds or a duration such as `5m`, where the operator allows it; else ignored and named.", extra=True),
    Row("think", _T, "A boolean, `low`, `medium`, `high` or `max`; ignored on a model that cannot think.", extra=True),
    Row("format", _T, "`json` or a JSON schema; on a chat `response_format` beats it.", extra=True),
    Row("min_p", _T, "`options.min_p`.", extra=True),
    Row("num_ctx", _T, "`options.num_ctx`, where the operator allows it; else ignored and named.", extra=True),
    Row("repeat_last_n", _T, "`options.repeat_last_n`.", extra=True),
    Row("repeat_penalty", _T, "`options.repeat_penalty`.", extra=True),
    Row("top_k", _T, "`options.top_k`.", extra=True),
    Row("typical_p", _T, "`options.typical_p`.", extra=True),
)  # fmt: skip

CHAT: tuple[Row, ...] = (
    Row("messages", _T, "One native message for each; see the table of messages."),
    _MODEL,
    Row("audio", _I, "Ollama's models do not speak; with `modalities` that ask for audio the call is refused."),
    _FREQUENCY,
    Row("function_call", _G, "As `tool_choice`, for `functions`; beside `tools` it is ignored and named."),
    Row("functions", _T, "As `tools`, answered with `function_call`; beside `tools` they are ignored and named."),
    _LOGIT_BIAS,
    Row("logprobs", _T, "`logprobs`; those of thoughts and of calls are left out."),
    Row("max_completion_tokens", _T, "`options.num_predict`; 0 is ignored and named."),
    Row("max_tokens", _T, "`options.num_predict`; 0, and any value beside `max_completion_tokens`, is ignored and named."),
    Row("metadata", _I, "Nothing is stored."),
    Row("modalities", _G, "`text` is simply true; anything else is refused: Ollama's models answer in nothing else."),
    Row("moderation", _I, "There is no moderation model."),
    Row("n", _G, "A native call for each choice, up to `limits.max_choices`; the prompt counts once. Choice `i` has the seed `seed + i`, without a `seed` the seed `i`, but for the first, which has none: asked again, the others are the same."),
    Row("parallel_tool_calls", _G, "`false`: the first call alone is passed on."),
    Row("prediction", _I, "It would change the speed, not the answer."),
    _PRESENCE,
    Row("prompt_cache_key", _I, "Ollama finds a prompt that it has seen by itself."),
    Row("prompt_cache_options", _I, "Ollama finds a prompt that it has seen by itself."),
    Row("prompt_cache_retention", _I, "Ollama keeps prompts as long as their model is loaded."),
    Row("reasoning_effort", _T, "`think`: none is false, minimal is low, xhigh and ultra are max; ignored and named on a model that cannot think."),
    Row("response_format", _T, "`format`: `json_object` is `json`, `json_schema` the schema with `$ref` resolved; beside tools the answer may be either."),
    _SAFETY,
    _SEED,
    Row("service_tier", _I, "There is one tier."),
    _STOP,
    Row("store", _I, "Nothing is stored."),
    _STREAM_OPTIONS,
    _INCLUDE_USAGE,
    _OBFUSCATION,
    _TEMPERATURE,
    Row("tool_choice", _G, "`none` sends no tools; `required`, a function and `allowed_tools` are made true by a grammar; an unknown function is a 400."),
    Row("tools", _T, "Functions; `$ref`, `oneOf`, `allOf` and `const` are rewritten for Ollama; custom tools are refused."),
    Row("top_logprobs", _T, "`top_logprobs`, 0 to 20, beside `logprobs`."),
    _TOP_P,
    _USER,
    Row("verbosity", _I, "No model of Ollama's knows it."),
    Row("web_search_options", _I, "Nothing is searched."),
    _STREAM,
    Row("reasoning", _T, "`reasoning.effort` as `reasoning_effort`, which it beats; `reasoning.enabled` as `think`.", extra=True),
    *_KNOBS,
)  # fmt: skip

MESSAGES: tuple[Row, ...] = (
    Row("role", _T, "`developer` is `system`, `function` is `tool`; any other than OpenAI's six is refused."),
    Row("content", _T, "A text, or parts: texts are joined as they are, images and sounds go into the same native message; null beside calls."),
    Row("name", _T, "The function's name for the roles `tool` and `function`; for others ignored and named as `messages.name`."),
    Row("tool_calls", _T, "Arguments may be a string of JSON, an object, or empty."),
    Row("tool_call_id", _T, "Also gives the result the name of its function."),
    Row("function_call", _T, "As one of `tool_calls`."),
    Row("refusal", _T, "The content, where there is no other."),
    Row("audio", _I, "The id of an answer that OpenAI keeps; not named."),
    Row("reasoning", _T, "`thinking`; `reasoning_content` is the same.", extra=True),
    Row("reasoning_content", _T, "`thinking`.", extra=True),
)  # fmt: skip

PARTS: tuple[Row, ...] = (
    Row("text", _T, "Part of the content."),
    Row("refusal", _T, "Part of the content."),
    Row("image_url", _T, "A data URL in any usual spelling, to `images`; `http` and `https` addresses are refused, `detail` has no effect."),
    Row("input_audio", _T, "WAV or MP3, to `images`, where the model takes sound."),
    Row("file", _T, "`file_data`: a text is read into the content, an image to `images`; `file_id` is refused, since nothing is stored."),
)  # fmt: skip

COMPLETIONS: tuple[Row, ...] = (
    _MODEL,
    Row("prompt", _T, "A text, or a list of them: a native call for each. Empty texts and token ids are refused."),
    Row("best_of", _G, "So many choices are made and the likeliest given; not streamed; 0 is ignored and named."),
    Row("echo", _G, "The prompt stands before the text."),
    _FREQUENCY,
    _LOGIT_BIAS,
    Row("logprobs", _T, "`logprobs` and `top_logprobs`, 0 to 20, answered in the older shape; those of the prompt are not known."),
    Row("max_tokens", _T, "`options.num_predict`; 0 is ignored and named, and without it there is no limit of our own."),
    Row("n", _G, "A native call for each choice; `n` times the number of prompts may be `limits.max_choices`."),
    _PRESENCE,
    _SEED,
    _STOP,
    _STREAM_OPTIONS,
    _INCLUDE_USAGE,
    _OBFUSCATION,
    Row("suffix", _T, "`suffix`; a model that cannot fill in is a 400."),
    _TEMPERATURE,
    _TOP_P,
    _USER,
    _STREAM,
    Row("safety_identifier", _G, _SAFETY.note, extra=True),
    *_KNOBS,
)  # fmt: skip

EMBEDDINGS: tuple[Row, ...] = (
    Row("input", _T, "A text, or a list of up to `limits.max_inputs`, sent in parts; token ids are refused."),
    _MODEL,
    Row("dimensions", _T, "`dimensions`, at least 1; Ollama leaves vectors alone that are shorter."),
    Row("encoding_format", _G, "`float` or `base64` (little-endian float32), in any case."),
    _USER,
    Row("safety_identifier", _G, _SAFETY.note, extra=True),
    Row("stream", _I, "The answer comes in one piece; `false` is simply true.", extra=True),
    Row("truncate", _T, "`truncate`, off unless asked for: a text that is too long is a 400, as it is OpenAI's.", extra=True),
    *(row for row in _KNOBS if row.field in ("options", "keep_alive")),
)  # fmt: skip

REFUSALS: tuple[Row, ...] = (
    Row("messages[].content[].image_url", _R, "An `http` or `https` address: the gateway fetches nothing; send a data URL."),
    Row("messages[].content[].file.file_id", _R, "A stored file: nothing is stored."),
    Row("modalities", _R, "Anything but `text`."),
    Row("tools[].type", _R, "Anything but `function`."),
    Row("prompt", _R, "Token ids, which Ollama cannot read back into text, and the empty text, to which it has no answer."),
    Row("input", _R, "Token ids, and no text at all."),
    Row("suffix", _R, "On a model that cannot fill in."),
    Row("best_of", _R, "Over `n` in a stream."),
)  # fmt: skip
"""What is always or often refused, though it is OpenAI's."""
