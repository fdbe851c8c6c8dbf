"""A plain client for tests: one request, its whole answer. For more, point the `openai` package at `base_url`."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_LIMIT_SECONDS = 30.0


@dataclass(frozen=True)
class Reply:
    """An answer as it came: status, headers with names in lower case, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @cached_property
    def events(self) -> list[Any]:
        """Of a streamed answer: what each event holds, decoded; `[DONE]` is left out."""
        lines = [line.removeprefix("data: ") for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]

    @property
    def text(self) -> str:
        """The words of a chat's first choice, streamed or not."""
        return "".join(message.get("content") or "" for message in self._messages())

    @property
    def tool_arguments(self) -> str:
        """The arguments of a chat's first tool call, as the client gets them."""
        calls = [call for message in self._messages() for call in message.get("tool_calls") or ()]
        return "".join(call["function"]["arguments"] for call in calls if call.get("index", 0) == 0)

    def _messages(self) -> list[dict[str, Any]]:
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            choices = [choice for event in self.events for choice in event.get("choices", ())]
            return [choice["delta"] for choice in choices if choice["index"] == 0]
        return [choice["message"] for choice in self.json().get("choices", ())[:1]]


class Client:
    """Asks a server at `host` and `port`; blocks until the answer is whole."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What OpenAI clients call `base_url`."""
        return f"{self.url}/v1"

    def request(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request; a `body` that is not bytes is sent as JSON, `key` as a bearer key."""
        given = dict(headers or {})
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_LIMIT_SECONDS)
        try:
            connection.request(method, path, data, given)
            response = connection.getresponse()
            return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str, *, key: str | None = None) -> Reply:
        return self.request("GET", path, key=key)

    def chat(self, text: str, *, model: str = "llama3.2", key: str | None = None, **fields: Any) -> Reply:
        """A chat of one message; `fields` are more of the request's, such as `stream=True`."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return self.request("POST", "/v1/chat/completions", body, key=key)
