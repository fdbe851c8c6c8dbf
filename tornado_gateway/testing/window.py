"""The window of the context: how many tokens of a prompt the model reads, and when Ollama refuses."""

from __future__ import annotations

from tornado_gateway.testing import tokens
from tornado_gateway.testing.native import NativeRequest
from tornado_gateway.testing.options import Options
from tornado_gateway.testing.refusals import Refusal, context_exceeded

PROMPT_TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the context "
    "length in settings, or use a model with a longer context length"
)


def fitted(request: NativeRequest, options: Options) -> int:
    """Tokens of the prompt that the model reads.

    With `truncate` the oldest messages but those of the system are dropped, and a single one that is still too long is cut
    to about half the window. Raises `Refusal` (400) otherwise.
    """
    asked = _asked(request)
    if asked < options.num_ctx:
        return asked
    if not request.truncate:
        raise context_exceeded(asked, options.num_ctx)
    left = asked - _droppable(request, asked - options.num_ctx + 1)
    if left < options.num_ctx:
        return left
    if not request.shift:
        raise Refusal(400, PROMPT_TOO_LONG)
    return options.num_keep + (options.num_ctx - options.num_keep) // 2


def _asked(request: NativeRequest) -> int:
    if request.endpoint == "/api/chat":
        return tokens.prompt_tokens(request.messages, request.tools)
    own = tokens.count(request.prompt) + tokens.count(request.suffix) + len(request.context) + 256 * len(request.images)
    if request.raw:
        return own
    return tokens.prompt_tokens([{"content": request.system}] if request.system else []) + 6 + own


def _droppable(request: NativeRequest, needed: int) -> int:
    """Tokens that go when the oldest messages are dropped until `needed` are freed; the last one always stays."""
    freed = 0
    for message in request.messages[:-1]:
        if freed >= needed:
            break
        if message["role"] != "system":
            freed += tokens.message_tokens(message)
    return freed
