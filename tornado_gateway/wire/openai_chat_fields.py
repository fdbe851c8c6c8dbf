"""The body of `POST /v1/chat/completions` as OpenAI's clients write it, and which of its fields do something here.

Only kinds are checked by these types: every field may be null, which means "not given", and unknown fields are skipped (the
dialect names them as ignored). Meaning, ranges and what must be there are checked by the modules that translate.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tornado_gateway.wire.decode import decode_known
from tornado_gateway.wire.options import Knobs

Whole = int | float | None
"""An integer, perhaps written as 1.0: see `decode.whole_number`."""


class ImageUrl(msgspec.Struct, frozen=True):
    url: str | None = None


class InputAudio(msgspec.Struct, frozen=True):
    data: str | None = None
    format: str | None = None


class File(msgspec.Struct, frozen=True):
    file_data: str | None = None
    file_id: str | None = None


class Part(msgspec.Struct, frozen=True):
    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    image_url: str | ImageUrl | None = None
    input_audio: InputAudio | None = None
    file: File | None = None


class CalledFunction(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CalledTool(msgspec.Struct, frozen=True):
    id: str | None = None
    type: str | None = None
    function: CalledFunction | None = None


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of the conversation."""

    role: str | None = None
    content: str | list[Part] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[CalledTool] | None = None
    tool_call_id: str | None = None
    function_call: CalledFunction | None = None


class Function(msgspec.Struct, frozen=True):
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | bool | None = None


class Tool(msgspec.Struct, frozen=True):
    type: str | None = None
    function: Function | None = None


class FunctionName(msgspec.Struct, frozen=True):
    name: str | None = None


class ToolName(msgspec.Struct, frozen=True):
    type: str | None = None
    function: FunctionName | None = None
    name: str | None = None
    """Where the Responses API puts it; several clients send it to chat as well."""


class AllowedTools(msgspec.Struct, frozen=True):
    mode: str | None = None
    tools: list[ToolName] | None = None


class ToolChoice(ToolName, frozen=True):
    allowed_tools: AllowedTools | None = None


class JsonSchema(msgspec.Struct, frozen=True):
    schema: dict[str, Any] | bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    type: str | None = None
    json_schema: JsonSchema | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Reasoning(msgspec.Struct, frozen=True):
    """OpenRouter's and the Responses API's spelling of `reasoning_effort`."""

    effort: str | None = None
    enabled: bool | None = None


class ChatRequest(Knobs, frozen=True, kw_only=True):
    """Every field that has an effect here; all others are ignored and named."""

    model: str | None = None
    messages: list[ChatMessage] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    logprobs: bool | None = None
    max_completion_tokens: Whole = None
    max_tokens: Whole = None
    n: Whole = None
    top_logprobs: Whole = None

    modalities: list[str] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None

    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = None
    function_call: str | FunctionName | None = None

    user: str | None = None
    safety_identifier: str | None = None


KNOWN_FIELDS = frozenset(field.encode_name for field in msgspec.structs.fields(ChatRequest))
"""The fields that are translated, done by the gateway or refused. A field that is not here is ignored and named."""

IGNORED_FIELDS = frozenset(
    {
        "audio",
        "logit_bias",
        "metadata",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "service_tier",
        "store",
        "verbosity",
        "web_search_options",
    }
)
"""OpenAI's fields without effect, whatever their value: a statement for the table of fates, not a filter."""


class _Exact(ChatRequest, frozen=True, forbid_unknown_fields=True):
    """A request without fields that are ignored."""


_decoder: msgspec.json.Decoder[ChatRequest] = msgspec.json.Decoder(ChatRequest)
_exact: msgspec.json.Decoder[ChatRequest] = msgspec.json.Decoder(_Exact)


def read_chat_request(body: bytes) -> tuple[ChatRequest, bool]:
    """The typed body, and whether every field of it is known.

    Raises `InvalidJSON`, or `InvalidRequest` with `param` for a value of the wrong kind.
    """
    return decode_known(body, _exact, _decoder)
