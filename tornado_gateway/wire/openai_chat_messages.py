"""OpenAI's messages to Ollama's: one native message for each, with its images, its calls and the names that Ollama wants.

Ollama takes content as text only, images as base64 beside it, arguments of calls as objects, and knows results of calls by
the name of their function, where OpenAI knows them by an id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tornado_gateway.errors import InvalidRequest, UnsupportedValue
from tornado_gateway.wire.decode import required
from tornado_gateway.wire.openai_chat_fields import CalledFunction, CalledTool, ChatMessage, Part
from tornado_gateway.wire.openai_chat_images import file_content, image_data, read_data_url, standard_base64

ROLES = {
    "assistant": "assistant",
    # Templates of most models drop roles that they do not know, and with them what the developer said.
    "developer": "system",
    "function": "tool",
    "system": "system",
    "tool": "tool",
    "user": "user",
}
_PEOPLE = {role: native for role, native in ROLES.items() if native in ("system", "user")}
_MAY_BE_EMPTY = frozenset({"assistant", "function", "tool"})
_SOUNDS = frozenset({"mp3", "wav"})


class NativeMessage(msgspec.Struct, omit_defaults=True):
    """A message of `/api/chat`."""

    role: str
    content: str
    thinking: str = ""
    images: list[str] = msgspec.field(default_factory=list)
    tool_calls: list[dict[str, Any]] = msgspec.field(default_factory=list)
    tool_name: str = ""
    tool_call_id: str = ""


class Conversation(msgspec.Struct):
    """The native messages, and where in the request they hold what not every model takes."""

    messages: list[NativeMessage]
    image_params: list[str]
    audio_params: list[str]
    named: bool
    """Whether a message of a person carries a name: Ollama has no place for it."""

    @property
    def media_size(self) -> int:
        """Characters of base64, which say nothing about the number of tokens."""
        if not (self.image_params or self.audio_params):
            return 0
        return sum(len(image) for message in self.messages for image in message.images)


def native_messages(turns: Sequence[ChatMessage]) -> Conversation:
    """Raises `InvalidRequest` or `UnsupportedValue` with the path of the part at fault."""
    conversation = Conversation([], [], [], named=False)
    names: dict[str, str] = {}
    for number, turn in enumerate(turns):
        if turn.role in _PEOPLE and turn.content and isinstance(turn.content, str):
            # What people write is mostly text and nothing else, in which nothing can be at fault.
            conversation.messages.append(NativeMessage(_PEOPLE[turn.role], turn.content))
            conversation.named |= turn.name is not None
            continue
        param = f"messages[{number}]"
        message = NativeMessage(role=_role(turn, param), content="")
        _put_content(message, turn, param, conversation)
        if message.role == "assistant":
            message.thinking = turn.reasoning or turn.reasoning_content or ""
            message.tool_calls = _calls(turn, param, names)
        elif message.role == "tool":
            message.tool_call_id = turn.tool_call_id or ""
            message.tool_name = turn.name or names.get(message.tool_call_id, "")
        else:
            conversation.named |= turn.name is not None
        conversation.messages.append(message)
    return conversation


def _role(turn: ChatMessage, param: str) -> str:
    if turn.role is None:
        raise required(f"{param}.role")
    role = ROLES.get(turn.role)
    if role is None:
        raise InvalidRequest(f"`{param}.role` must be one of {', '.join(sorted(ROLES))}.", param=f"{param}.role")
    return role


def _put_content(message: NativeMessage, turn: ChatMessage, param: str, conversation: Conversation) -> None:
    content = turn.content
    if isinstance(content, str):
        message.content = content
    elif content is not None:
        _put_parts(message, content, f"{param}.content", conversation)
    elif turn.role not in _MAY_BE_EMPTY:
        raise required(f"{param}.content")
    message.content = message.content or turn.refusal or ""


def _put_parts(message: NativeMessage, parts: Sequence[Part], param: str, conversation: Conversation) -> None:
    """Texts are joined as they are, without anything between: what the client cut, it cut inside its own text."""
    texts: list[str] = []
    for number, part in enumerate(parts):
        path = f"{param}[{number}]"
        match part.type:
            case "text" | "refusal":
                texts.append(_given(part.text if part.type == "text" else part.refusal, f"{path}.{part.type}"))
            case "image_url":
                message.images.append(_image(part, f"{path}.image_url"))
                conversation.image_params.append(path)
            case "input_audio":
                message.images.append(_audio(part, f"{path}.input_audio"))
                conversation.audio_params.append(path)
            case "file":
                text, image = _file(part, f"{path}.file")
                texts.append(text)
                if image is not None:
                    message.images.append(image)
                    conversation.image_params.append(path)
            case None:
                raise required(f"{path}.type")
            case _:
                kinds = "text, image_url, input_audio, file or refusal"
                raise InvalidRequest(f"`{path}.type` must be {kinds}.", param=f"{path}.type")
    message.content = "".join(texts)


def _image(part: Part, param: str) -> str:
    image = part.image_url
    return image_data(_given(image if image is None or isinstance(image, str) else image.url, param), param)


def _audio(part: Part, param: str) -> str:
    audio = part.input_audio
    data = _given(audio.data if audio else None, f"{param}.data")
    if audio and audio.format is not None and audio.format.lower() not in _SOUNDS:
        raise UnsupportedValue(f"`{param}.format` must be wav or mp3.", param=f"{param}.format")
    if data[:5].lower() == "data:":
        return read_data_url(data, f"{param}.data").base64
    return standard_base64(data, f"{param}.data")


def _file(part: Part, param: str) -> tuple[str, str | None]:
    file = part.file
    if file and file.file_id is not None and file.file_data is None:
        raise UnsupportedValue(
            f"`{param}.file_id` names a stored file, and this gateway stores none. Send the file in `file_data`.",
            param=f"{param}.file_id",
        )
    return file_content(_given(file.file_data if file else None, f"{param}.file_data"), f"{param}.file_data")


def _calls(turn: ChatMessage, param: str, names: dict[str, str]) -> list[dict[str, Any]]:
    """The calls that the model asked for; `names` learns which function each id stands for."""
    calls = [
        _call(call, call.function, f"{param}.tool_calls[{number}].function", names)
        for number, call in enumerate(turn.tool_calls or ())
    ]
    if turn.function_call is not None:
        calls.append(_call(CalledTool(), turn.function_call, f"{param}.function_call", names))
    return calls


def _call(call: CalledTool, function: CalledFunction | None, param: str, names: dict[str, str]) -> dict[str, Any]:
    if function is None:
        raise required(param)
    name = _given(function.name or None, f"{param}.name")
    native: dict[str, Any] = {"function": {"name": name, "arguments": _arguments(function.arguments, f"{param}.arguments")}}
    if call.id:
        # The latest call of an id is the one that a result after it answers.
        names[call.id] = name
        return {"id": call.id, **native}
    return native


def _arguments(arguments: str | dict[str, Any] | None, param: str) -> dict[str, Any]:
    """An object, its keys in their order: Ollama refuses the string of JSON that OpenAI sends."""
    if not isinstance(arguments, str):
        return arguments or {}
    if not arguments.strip():
        return {}
    try:
        return msgspec.json.decode(arguments, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError) as error:
        raise InvalidRequest(f"`{param}` must be a JSON object, or a string that holds one.", param=param) from error


def _given(value: str | None, param: str) -> str:
    if value is None:
        raise required(param)
    return value
