"""Ollama as the rest of the gateway sees it: calls to answer, and questions about its models.

The only thing that others use of this package. Paths are constants, the address comes from the options alone, and nothing
of a client's request is passed on but the call that was made from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Self

import msgspec
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

from tornado_gateway.errors import GatewayError, UpstreamInvalidResponse, UpstreamUnavailable
from tornado_gateway.upstream.answer import Inbox, Outlet, answer
from tornado_gateway.upstream.breaker import Breaker
from tornado_gateway.upstream.client import OllamaHTTPClient
from tornado_gateway.upstream.inventory import Model, Shown, models_of, shown_of, version_of
from tornado_gateway.upstream.target import request_head, target_of
from tornado_gateway.upstream.transfer import Limits, Transfer
from tornado_gateway.wire.ollama import MAX_LINE_BYTES, NativeCall, Record
from tornado_gateway.wire.ollama_errors import error_of

_VERSION = "/api/version"
_TAGS = "/api/tags"
_PS = "/api/ps"
_SHOW = "/api/show"

_QUESTION_SECONDS = 10.0
"""For a question about models: Ollama answers these at once, whatever it generates."""

_PROBE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class UpstreamOptions:
    """The settings of the same names. Raises ValueError for an address or a header that cannot be used."""

    url: str = "http://localhost:11434"
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """May hold a key for a proxy in front of Ollama, so they are never shown."""
    connect_seconds: float | None = 5.0
    first_byte_seconds: float | None = 300.0
    whole_seconds: float | None = 600.0
    idle_seconds: float | None = 60.0
    total_seconds: float | None = None
    max_line_bytes: int = MAX_LINE_BYTES
    name: str = "ollama"
    """What logs and plugins call it."""

    def __post_init__(self) -> None:
        request_head("GET", target_of(self.url), self.headers.items(), None)


class Ollama:
    """One Ollama. Use it as an async context manager, or `start` it and `close` it.

    Every method raises classes of `tornado_gateway.errors`, and `UpstreamUnavailable` at once while the breaker is open.
    """

    def __init__(self, options: UpstreamOptions) -> None:
        self._options = options
        self._base = options.url.rstrip("/")
        # Tornado's headers to have each once, however it is spelled; a dictionary since it is read for every request.
        self._headers = dict(HTTPHeaders({"Content-Type": "application/json", **options.headers}))
        self._client: OllamaHTTPClient | None = None
        self._breaker = Breaker(self._reachable)
        self._limits = Limits(options.connect_seconds, options.first_byte_seconds, options.idle_seconds, options.total_seconds)
        # Of an answer that is not streamed nothing comes before it is whole, and nothing comes of a call of a tool while it is written.
        self._limits_whole = replace(self._limits, first_byte=options.whole_seconds)
        self._limits_with_tools = replace(self._limits, idle=_longer(self._limits.idle, self._limits.first_byte))

    @property
    def name(self) -> str:
        return self._options.name

    async def start(self) -> None:
        """Make the client. Opens no connection: the gateway starts while Ollama is down."""
        self._client = OllamaHTTPClient(force_instance=True, limits=self._limits)

    async def close(self) -> None:
        """Close every connection and wait until they are closed. Answers under way fail with `ShuttingDown`."""
        client, self._client = self._client, None
        await self._breaker.close()
        if client is not None:
            client.close()
            await client.closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def answer(
        self, call: NativeCall, *, on_first_byte: Callable[[], None] | None = None, outlet: Outlet | None = None
    ) -> AsyncGenerator[Sequence[Record], None]:
        """Send a call, once, and give its records in batches that are never empty.

        The last record of the last batch is the one with `done: true` (with the embeddings, for an embedding call); it comes
        only when the whole answer has come. Otherwise an error is raised, behind the records that did come. Nothing is sent
        before the first batch is asked for. Closing the generator, or cancelling the task that reads it, stops Ollama
        at once: read it under `contextlib.aclosing`. `on_first_byte` is called when the answer begins. Records that `outlet` takes do
        not come in the batches.
        """

        def first_byte() -> None:
            self._breaker.succeeded()
            if on_first_byte is not None:
                on_first_byte()

        limits = self._limits_whole if not call.stream else self._limits_with_tools if call.tools else self._limits
        request = self._request(call.endpoint, call.wire_body)
        return answer(partial(self._start, limits), request, Inbox(call, self._options.max_line_bytes, first_byte, outlet))

    async def version(self) -> str:
        return version_of(await self._ask(_VERSION))

    async def tags(self) -> list[Model]:
        """The models that Ollama has, newest first."""
        return models_of(await self._ask(_TAGS))

    async def ps(self) -> list[str]:
        """The names of the models that are loaded."""
        return [model.name for model in models_of(await self._ask(_PS))]

    async def show(self, name: str) -> Shown:
        """What a model can do. Raises `ModelNotFound` when Ollama does not have it."""
        return shown_of(await self._ask(_SHOW, msgspec.json.encode({"model": name})))

    async def unready(self) -> str | None:
        """Why Ollama cannot be used now, None when it answers as Ollama does. Asks, breaker or not; costs no token."""
        try:
            response = await self._send(self._request(_VERSION, None, _PROBE_SECONDS))
            if response.code != 200:
                raise error_of(response.code, response.body, endpoint=_VERSION)
            version_of(response.body)
        except GatewayError as error:
            return error.message
        self._breaker.succeeded()
        return None

    async def _reachable(self) -> bool:
        """Whether anything answers there: all that the breaker is about."""
        try:
            await self._send(self._request(_VERSION, None, _PROBE_SECONDS))
        except UpstreamInvalidResponse:
            return True
        except GatewayError:
            return False
        return True

    async def _ask(self, path: str, body: bytes | None = None) -> bytes:
        self._breaker.check()
        try:
            response = await self._send(self._request(path, body, _QUESTION_SECONDS))
        except UpstreamUnavailable as error:
            self._note_failure(error)
            raise
        self._breaker.succeeded()
        if response.code != 200:
            raise error_of(response.code, response.body, endpoint=path)
        return response.body

    def _request(self, path: str, body: bytes | None, seconds: float | None = None) -> HTTPRequest:
        return HTTPRequest(
            self._base + path,
            method="GET" if body is None else "POST",
            body=body,
            headers=self._headers,
            connect_timeout=None if seconds is None else _least(seconds, self._options.connect_seconds),
            request_timeout=None if seconds is None else _least(seconds, self._options.total_seconds),
        )

    def _start(self, limits: Limits, request: HTTPRequest, callback: Callable[[HTTPResponse], None]) -> Transfer:
        self._breaker.check()

        def ended(response: HTTPResponse) -> None:
            if response.error is None or isinstance(response.error, HTTPClientError):
                self._breaker.succeeded()
            else:
                self._note_failure(response.error)
            callback(response)

        return self._connections().start(request, ended, limits)

    def _send(self, request: HTTPRequest) -> asyncio.Future[HTTPResponse]:
        return self._connections().fetch(request, raise_error=False)

    def _connections(self) -> OllamaHTTPClient:
        if self._client is None:
            raise UpstreamUnavailable("The gateway's connections to Ollama are closed.")
        return self._client

    def _note_failure(self, error: BaseException) -> None:
        # By its exact class: `Overloaded` is the gateway's own shortage, `ShuttingDown` its own end.
        if type(error) is UpstreamUnavailable:
            self._breaker.failed()


def _longer(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)
