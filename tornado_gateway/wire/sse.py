"""Server-sent events: values to bytes. Source: the WHATWG HTML standard, section 9.2, and what openai-python accepts.

An event is always one `data:` line of JSON: no text of a model can end the line, since JSON escapes line breaks. `id:`,
`retry:` and events without data are never sent: the official client fails on them.
"""

from typing import Any

import msgspec

CONTENT_TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": waiting for the model\n\n"
"""A comment: proxies and clients see bytes, parsers see nothing."""

_encode = msgspec.json.Encoder().encode


def event(value: Any) -> bytes:
    """One event that carries `value` as JSON."""
    return b"data: " + _encode(value) + b"\n\n"
