"""What Ollama says when it fails, and what callers are told: one rule for each saying, printed in `docs/errors.md`.

Ollama's errors are free text whose wording changes: a rule looks for the parts that last. The first rule that fits decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tornado_gateway.errors import (
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    UnsupportedValue,
    UpstreamError,
)
from tornado_gateway.wire.scrub import is_clean, scrubbed

RETRY_AFTER_SECONDS = 2.0
"""After a full queue: Ollama itself names no time."""

_INPUTS = {"/api/chat": "messages", "/api/generate": "prompt", "/api/embed": "input"}

_CLIENT_NAMES = {
    "format": "response_format",
    "json_schema": "response_format",
    "think": "reasoning_effort",
    "num_predict": "max_tokens",
    "images": "messages",
}
"""What clients call a field of Ollama's, where it is another name."""


@dataclass(frozen=True, slots=True)
class Said:
    """One error of Ollama's, read."""

    text: str
    endpoint: str = "/api/chat"
    tokens: int | None = None
    """How many tokens the prompt has, where Ollama says so together with `window`."""
    window: int | None = None

    @property
    def input(self) -> str:
        """The client's name of the field that holds the prompt."""
        return _INPUTS.get(self.endpoint, "messages")


Answer = Callable[[Said, re.Match[str]], GatewayError]


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of failure: a text that it is for, how that is recognised, what the caller is told."""

    example: str
    pattern: re.Pattern[str]
    answer: Answer


def failed(said: Said, match: re.Match[str] | None = None, *, sentence: str = "Ollama failed to answer") -> GatewayError:
    """Ollama's fault. Its words go on when there is nothing private in them: they name what is missing, often memory."""
    if said.text and is_clean(said.text):
        return UpstreamError(f"{sentence}: {scrubbed(said.text)}")
    return UpstreamError(f"{sentence}; its log says why.")


def busy(said: Said, match: re.Match[str] | None = None) -> GatewayError:
    return Overloaded("Ollama's queue is full. Please try again in a moment.", retry_after=RETRY_AFTER_SECONDS)


def gone(said: Said, match: re.Match[str] | None = None) -> GatewayError:
    return ModelNotFound(
        "Ollama does not have this model, or would not run it on its own machine. GET /v1/models lists what there is.",
        param="model",
    )


def _too_long(said: Said, match: re.Match[str]) -> GatewayError:
    if said.tokens is None or said.window is None:
        message = f"Your {said.input} exceeded this model's maximum context length."
    else:
        message = (
            f"This model's maximum context length is {said.window} tokens. "
            f"However, your {said.input} resulted in {said.tokens} tokens."
        )
    return ContextLengthExceeded(f"{message} Please reduce the length of the {said.input}.", param=said.input)


def _cannot(message: str, param: str | None, said: Said, match: re.Match[str]) -> GatewayError:
    return UnsupportedValue(message, param=param or said.input)


def _broken(message: str, said: Said, match: re.Match[str]) -> GatewayError:
    return UpstreamError(message)


def _schema(said: Said, match: re.Match[str]) -> GatewayError:
    # The reason stands behind one or more headings that name the runner's field.
    reason = re.sub(r"^.*?(?:conversion failed|expected)\b:?\s*", "", said.text[:2000], flags=re.DOTALL)
    return InvalidRequest(f"Ollama cannot use this response format: {scrubbed(reason)}", param="response_format")


def _field(said: Said, match: re.Match[str]) -> GatewayError:
    """A field whose name stands in the text."""
    name = match["name"]
    param = _CLIENT_NAMES.get(name, name)
    return InvalidRequest(f"Ollama refuses the value of '{param}': {scrubbed(match['why'])}", param=param)


def _unread(said: Said, match: re.Match[str]) -> GatewayError:
    param = _CLIENT_NAMES.get(match["name"], match["name"])
    return InvalidRequest(f"Ollama cannot read '{param}': a value in it has the wrong type.", param=param)


def _malformed(said: Said, match: re.Match[str]) -> GatewayError:
    return InvalidRequest(f"Ollama cannot read the {said.input}: {scrubbed(said.text)}", param=said.input)


def _rule(example: str, pattern: str, answer: Answer) -> Rule:
    return Rule(example, re.compile(pattern, re.IGNORECASE | re.DOTALL), answer)


RULES: tuple[Rule, ...] = (
    _rule(
        # First: what the model wrote is quoted in this text, so that any other rule could fit by accident.
        "error parsing tool call: raw='{\"name\":', err=unexpected end of JSON input",
        r"\berror parsing tool call\b|\bfailed to parse tool call\b|\btool call parsing failed\b",
        partial(_broken, "The model wrote a tool call that is not valid JSON."),
    ),
    _rule(
        "context deadline exceeded",
        # Words of Go about time, not of a model's context window.
        r"\bcontext (?:deadline exceeded|cancel(?:ed|led))\b",
        partial(_broken, "Ollama gave up this call before its answer was whole."),
    ),
    _rule(
        "model 'llama9' not found",
        r"^model .{0,300}\bnot found\b|^invalid model name\b|\buse either :local or :cloud\b",
        gone,
    ),
    _rule("ollama cloud is disabled: remote model is unavailable", r"\bollama cloud\b|\bremote model\b", gone),
    _rule(
        "registry.ollama.ai/library/smollm2:135m does not support tools",
        r"\bdoes not support tools\b",
        partial(_cannot, "This model cannot call tools.", "tools"),
    ),
    _rule(
        "registry.ollama.ai/library/smollm2:135m does not support insert",
        r"\bdoes not support insert\b",
        partial(_cannot, "This model cannot fill in text before a suffix.", "suffix"),
    ),
    _rule(
        '"smollm2:135m" does not support thinking',
        r"\bdoes not support thinking\b",
        partial(_cannot, "This model cannot think before it answers.", "reasoning_effort"),
    ),
    _rule(
        "This server does not support embeddings. Start it with `--embeddings`",
        r"\bdoes not support embeddings?\b",
        partial(_cannot, "This model does not give embeddings.", "model"),
    ),
    _rule(
        '"all-minilm:l6" does not support chat',
        r"\bdoes not support (?:chat|generate|completion)\b|\bimage generation models are not\b",
        partial(_cannot, "This model does not write text.", "model"),
    ),
    _rule(
        "Multimodal data provided, but model does not support multimodal requests.",
        r"\bdoes not support (?:multimodal|image|vision|audio)|\b(?:image|audio) input is not supported\b",
        partial(_cannot, "This model takes text only: it cannot see images or hear audio.", None),
    ),
    _rule(
        "request (3010 tokens) exceeds the available context size (512 tokens), try increasing it",
        r"\b(?:context (?:length|size|window|limit)|prompt|input)\b.*\b(?:exceed(?:s|ed)?|longer|too (?:large|long|big))\b"
        r"|\b(?:exceed(?:s|ed)?|longer|too (?:large|long|big))\b.*\b(?:context (?:length|size|window|limit)|n_ctx)\b",
        _too_long,
    ),
    _rule('option "temperature" must be of type float32', r'^option "(?P<name>\w{1,64})" (?P<why>.{1,200})', _field),
    _rule("top_logprobs must be between 0 and 20", r"^(?P<name>top_logprobs) (?P<why>must be .{1,100})", _field),
    _rule(
        'invalid think value: "ultra" (must be "high", "medium", "low", "max", true, or false)',
        r"^invalid (?P<name>think) value: .{0,100}\((?P<why>must .*)\)",
        _field,
    ),
    _rule(
        'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object',
        r"^invalid (?P<name>format): .{0,4000}(?P<why>expected .*)",
        _field,
    ),
    _rule(
        'Field \'json_schema\': "json_schema": JSON schema conversion failed:\nUnrecognized schema: {"type":"nonsense"}',
        r"\bjson[_ ]schema\b|\bgrammar\b",
        _schema,
    ),
    _rule("Field 'repeat_last_n': must be at least 0", r"^field '(?P<name>\w{1,64})': (?P<why>.+)", _field),
    _rule(
        "json: cannot unmarshal string into Go struct field ChatRequest.messages of type []api.Message",
        r"\bcannot unmarshal\b.*\bfield \w+\.(?P<name>\w{1,64})",
        _unread,
    ),
    _rule(
        "illegal base64 data at input byte 0",
        r"\billegal base64\b|\bvalue looks like object\b|\binvalid input type\b|\bfailed to (?:load|decode|process) image\b",
        _malformed,
    ),
    _rule("model is required", r"^(?P<name>model) (?P<why>is required)", _field),
    _rule(
        "server busy, please try again.  maximum pending requests exceeded",
        r"\bserver busy\b|\bmaximum pending requests\b|\bloading model\b",
        busy,
    ),
    _rule(
        "an error was encountered while running the model: unexpected EOF",
        r"\bencountered while running the model\b|\bunexpectedly stopped\b|\bno longer running\b",
        partial(_broken, "The model's process on Ollama's machine ended in the middle of its work."),
    ),
    _rule(
        "model requires more system memory (9.4 GiB) than is available (3.1 GiB)",
        r"\bmore system memory\b|\bout of memory\b|\bunable to allocate\b|\bfailed to allocate\b|\bcudamalloc failed\b",
        partial(failed, sentence="Ollama has not enough memory for this model"),
    ),
    _rule(
        "timed out waiting for llama-server to start - progress 0.00",
        r"\bhas terminated\b|\bwaiting for \S+ to start\b|\b(?:failed|unable) to load\b|\berror loading\b",
        partial(failed, sentence="Ollama could not load the model"),
    ),
)
