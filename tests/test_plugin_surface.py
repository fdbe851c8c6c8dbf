"""What plugins can do beyond refusing: change text on its way, have addresses of their own, say that they are not ready."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from faults.oracles import until
from pydantic import BaseModel
from serving import AUTH, KEY, Served, chat_request, serving

from tornado_gateway import discovery
from tornado_gateway.hookspecs import (
    Context,
    Forward,
    GatewayError,
    InvalidRequest,
    NativeCall,
    PluginRequest,
    PluginResponse,
    Record,
    Route,
    Transform,
    hookimpl,
)
from tornado_gateway.testing import FakeOllama, say

BODY = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}


class Plugin:
    """Built by hand in these tests, as the gateway builds an installed one."""

    class Settings(BaseModel):
        pass

    def __init__(self, settings: BaseModel | None = None) -> None:
        pass


@asynccontextmanager
async def serving_with(
    monkeypatch: pytest.MonkeyPatch, ollama: FakeOllama, plugin: Plugin, **sections: Any
) -> AsyncIterator[Served]:
    built = discovery.build_plugins
    monkeypatch.setattr("tornado_gateway.app.build_plugins", lambda settings: [*built(settings), ("mine", plugin)])
    async with serving(ollama.url, plugins=[AUTH], **sections) as served:
        yield served


async def ask(served: Served, body: object) -> tuple[int, bytes]:
    answer = await served.raw(chat_request(json.dumps(body).encode(), more="Connection: close\r\n"))
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), rest


async def get(served: Served, path: str, key: str | None = KEY) -> tuple[int, Any]:
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    answer = await served.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\r\n".encode())
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(rest)


def shouting(record: Record) -> Record:
    if record.message is None:
        return record
    return msgspec.structs.replace(
        record, message=msgspec.structs.replace(record.message, content=record.message.content.upper())
    )


class Shouts(Plugin):
    @hookimpl
    async def transform(self, context: Context, call: NativeCall) -> Transform:
        return shouting


class Fails(Plugin):
    @hookimpl
    async def transform(self, context: Context) -> Transform:
        return lambda record: 1 / 0  # type: ignore[return-value]  # what a plugin must not do


class Refuses(Plugin):
    @hookimpl
    async def transform(self, context: Context) -> Transform:
        def refuse(record: Record) -> Record:
            raise InvalidRequest("Not that.")

        return refuse


@pytest.mark.parametrize("stream", [True, False])
async def test_hook_transform_changes_every_record(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, Shouts()) as served:
        ollama.next(say("hello"))

        _, body = await ask(served, {**BODY, "stream": stream})

        assert b"HELLO" in body
        assert b"hello" not in body


async def test_hook_transform_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, Fails()) as served:
        ollama.next(say("hello"))

        status, body = await ask(served, BODY)

        assert status == 200
        assert b"hello" in body


async def test_hook_transform_can_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, Refuses()) as served:
        assert (await ask(served, BODY))[0] == 400


class Counts(Plugin):
    reason: str | None = "still counting"

    @hookimpl
    def routes(self) -> Sequence[Route]:
        asked = frozenset({"GET", "OPTIONS"})
        return [Route("/count", self.count, methods=asked), Route("/open", self.count, authenticated=False)]

    async def count(self, request: PluginRequest) -> PluginResponse:
        return PluginResponse(
            {"path": request.path, "of": request.context.principal and request.context.principal.name, **request.query}
        )

    @hookimpl
    async def ready(self) -> str | None:
        return self.reason


async def test_hook_routes_stand_below_the_name_of_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, Counts()) as served:
        assert await get(served, "/plugins/mine/count?a=1") == (200, {"path": "/count", "of": "tester", "a": "1"})
        assert (await get(served, "/plugins/mine/count", key=None))[0] == 401
        assert await get(served, "/plugins/mine/open", key=None) == (200, {"path": "/open", "of": None})
        assert (await get(served, "/plugins/mine/nothing"))[0] == 404


class Answers(Plugin):
    """At `/own`, whatever it is told to."""

    def __init__(self, response: PluginResponse | GatewayError) -> None:
        self._response = response

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return [Route("/own", self._answer, methods=frozenset({"GET", "HEAD"}), authenticated=False)]

    async def _answer(self, request: PluginRequest) -> PluginResponse:
        if isinstance(self._response, GatewayError):
            raise self._response
        return self._response


@pytest.mark.parametrize("body", [None, b"", b"words", {"a": 1}])
@pytest.mark.parametrize(("method", "status"), [("GET", 204), ("GET", 304), ("HEAD", 204), ("HEAD", 200)])
async def test_an_answer_without_a_body_is_followed_by_the_next(
    monkeypatch: pytest.MonkeyPatch, method: str, status: int, body: Any
) -> None:
    """RFC 9112, section 6.3: clients take such an answer to end with its head, whatever stands there."""
    plugin = Answers(PluginResponse(body, status=status))
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, plugin) as served:
        first = f"{method} /plugins/mine/own HTTP/1.1\r\nHost: localhost\r\n\r\n"
        second = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

        head, _, rest = (await served.raw((first + second).encode())).partition(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert (b"Content-Length" in head) == (status == 200)
        assert rest.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "response",
    [
        PluginResponse(b"", content_type="text/plain; x=€"),
        PluginResponse(b"", content_type="text/plain\r\nX-Smuggled: yes"),
        PluginResponse(b"", content_type=None),  # type: ignore[arg-type]  # what a plugin must not do
        PluginResponse(b"", status=100),
        PluginResponse(b"", status=1000),
        PluginResponse(b"", status="200"),  # type: ignore[arg-type]  # as above
    ],
)
async def test_an_answer_that_cannot_be_sent_is_a_500_and_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, response: PluginResponse
) -> None:
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, Answers(response)) as served:
        status, body = await get(served, "/plugins/mine/own")

        assert (status, body["error"]["code"]) == (500, "internal_error")
        assert "request_failed" in [record.getMessage() for record in caplog.records]


async def test_a_header_that_cannot_be_sent_does_not_cost_an_error_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Priced(Answers):
        async def _answer(self, request: PluginRequest) -> PluginResponse:
            request.context.response_headers["X-Price"] = "1 €"  # past `add_header`
            return await super()._answer(request)

    plugin = Priced(InvalidRequest("Not that."))
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, plugin) as served:
        status, body = await get(served, "/plugins/mine/own")

        assert (status, body["error"]["message"]) == (400, "Not that.")


@pytest.mark.parametrize(
    ("path", "key", "more", "status"),
    [
        ("/plugins/mine/count", None, "", 401),
        ("/plugins/mine/count", None, "Origin: https://chat.example\r\n", 401),
        ("/plugins/mine/count", None, "Access-Control-Request-Method: GET\r\n", 401),
        ("/plugins/mine/count", KEY, "", 200),
        ("/plugins/mine/count", None, "Origin: https://chat.example\r\nAccess-Control-Request-Method: GET\r\n", 204),
        ("/v1/models", None, "", 405),
    ],
)
async def test_only_the_question_that_browsers_ask_before_they_send_needs_no_key(
    monkeypatch: pytest.MonkeyPatch, path: str, key: str | None, more: str, status: int
) -> None:
    server = {"cors_origins": ["https://chat.example"]}
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, Counts(), server=server) as served:
        authorization = f"Authorization: Bearer {key}\r\n" if key else ""
        head = f"OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}{more}\r\n"

        answer = await served.raw(head.encode())

        assert answer.startswith(b"HTTP/1.1 %d " % status)


async def test_hook_ready_decides_on_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = Counts()
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, plugin) as served:
        before = await get(served, "/readyz", key=None)
        plugin.reason = None
        after = await get(served, "/readyz", key=None)

        assert before == (503, {"status": "not ready", "reason": "mine: still counting"})
        assert after[0] == 200


class GoesOn(Plugin):
    """Asks Ollama in a task of its own, when it is told to, whether or not the caller is still there."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.calls: list[tuple[str, Context]] = []
        self.task: asyncio.Task[None] | None = None

    @hookimpl
    async def answer(self, context: Context, forward: Forward) -> AsyncIterator[Sequence[Record]]:
        self.task = asyncio.ensure_future(self._ask(forward))
        return self._wait()

    async def _ask(self, forward: Forward) -> None:
        await self.told.wait()
        async for _ in forward():
            pass

    async def _wait(self) -> AsyncIterator[Sequence[Record]]:
        await asyncio.Event().wait()
        yield []

    @hookimpl
    async def dispatch(self, context: Context) -> None:
        self.calls.append(("dispatch", context))

    @hookimpl
    async def answered(self, context: Context) -> None:
        self.calls.append(("answered", context))

    @hookimpl
    async def finished(self, context: Context) -> None:
        self.calls.append(("finished", context))


async def test_what_a_plugin_asks_for_by_itself_may_come_behind_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = GoesOn()
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, plugin) as served:
        _, writer = await served.connect()
        writer.write(chat_request(json.dumps(BODY).encode()))
        await until(lambda: plugin.task)
        writer.close()
        await asyncio.wait_for(served.gateway.services.idle.wait(), 5)
        plugin.told.set()
        assert plugin.task
        await asyncio.wait_for(plugin.task, 5)

    assert [name for name, _ in plugin.calls] == ["finished", "dispatch", "answered"]
    assert len({context.id for _, context in plugin.calls}) == 1
