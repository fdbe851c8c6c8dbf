"""What each hook's docstring promises, seen from a plugin in a real gateway. Those of `transform`, `routes`, `ready` and `commands` have tests of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from serving import Served, chat_request, serving

from tornado_gateway.hooks import Hooks
from tornado_gateway.hookspecs import (
    Answer,
    AuthenticationFailed,
    ConcurrencyLimit,
    Context,
    Forward,
    InvalidRequest,
    Keeper,
    Message,
    NativeCall,
    Outcome,
    Principal,
    Record,
    Release,
    ServerFacts,
    StartupRefused,
    hookimpl,
)
from tornado_gateway.testing import FakeOllama, cut, fail, say

BODY = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}


@asynccontextmanager
async def serving_with(monkeypatch: pytest.MonkeyPatch, *plugins: object) -> AsyncIterator[tuple[Served, FakeOllama]]:
    """Plugins named `0`, `1`, … in the order of the calls."""
    named = [(str(place), plugin) for place, plugin in enumerate(plugins)]
    monkeypatch.setattr("tornado_gateway.app.build_plugins", lambda _: named)
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[]) as served:
        yield served, ollama


async def ask(served: Served, key: str | None = None, **fields: Any) -> tuple[int, str]:
    request = chat_request(json.dumps({**BODY, **fields}).encode(), key=key, more="Connection: close\r\n")
    head, _, body = (await served.raw(request)).partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


class Notes:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.pages: list[Any] = []


class Lifelong(Notes):
    @hookimpl
    async def startup(self, server: ServerFacts) -> None:
        self.pages.append(("startup", server.host, server.loopback, server.shared))

    @hookimpl
    async def finished(self) -> None:
        self.pages.append("finished")

    @hookimpl
    async def shutdown(self) -> None:
        self.pages.append("shutdown")


async def test_hook_startup_is_the_first_and_shutdown_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = Lifelong()

    async with serving_with(monkeypatch, plugin) as (served, _):
        await ask(served)

    assert plugin.pages == [("startup", "127.0.0.1", True, None), "finished", "shutdown"]


async def test_hook_shutdown_is_called_for_those_that_had_started(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses:
        @hookimpl
        async def startup(self) -> None:
            raise StartupRefused("not today")

    first, last = Lifelong(), Lifelong()
    with pytest.raises(StartupRefused, match="not today"):
        await Hooks([("first", first), ("no", Refuses()), ("last", last)]).startup(
            ServerFacts("127.0.0.1", 0, loopback=True, announce=lambda _: None)
        )

    assert first.pages[-1] == "shutdown"
    assert last.pages == []


async def test_hook_reconfigure_gives_new_settings_while_requests_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Learns(Notes):
        def __init__(self) -> None:
            super().__init__()
            self.entered, self.go_on = asyncio.Event(), asyncio.Event()

        @hookimpl
        async def reconfigure(self, settings: Any) -> None:
            self.pages.append(settings)

        @hookimpl
        async def dispatch(self) -> None:
            self.entered.set()
            await self.go_on.wait()

    plugin = Learns()
    async with serving_with(monkeypatch, plugin) as (served, _):
        running = asyncio.ensure_future(ask(served))
        await asyncio.wait_for(plugin.entered.wait(), 5)
        await served.gateway.services.hooks.reconfigure({"0": "new", "other": "not mine"})
        plugin.go_on.set()

        assert (await running)[0] == 200
        assert plugin.pages == ["new"]


class Knows:
    """Lets in a key of its own, and leaves others to whoever comes behind."""

    def __init__(self, key: str, name: str) -> None:
        self._key, self._name = key, name

    @hookimpl
    async def authenticate(self, context: Context) -> Principal | None:
        given = context.headers.get("authorization", "").removeprefix("Bearer ")
        if given == "bad":
            raise AuthenticationFailed("No.")
        return Principal(self._name) if given == self._key else None


async def test_hook_authenticate_goes_to_the_next_until_one_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving_with(monkeypatch, Knows("a", "alice"), Knows("b", "bob")) as (served, ollama):
        statuses = [(await ask(served, key))[0] for key in ("a", "b", "c", "bad")]

    assert statuses == [200, 200, 503, 401]
    assert len(ollama.ledger.inference) == 2


@pytest.mark.parametrize("limit", [60.0, True, "60", -1])
def test_a_principal_whose_limit_is_no_whole_number_is_not_made(limit: Any) -> None:
    for name in ("requests_per_minute", "tokens_per_minute", "max_concurrent"):
        with pytest.raises(ValueError, match="whole numbers"):
            Principal("a", **{name: limit})


async def test_hook_admit_is_asked_once_with_the_whole_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(Notes):
        @hookimpl
        async def admit(self, context: Context) -> None:
            self.pages.append((context.model, context.resolved_model, context.stream, context.max_tokens))
            if context.user == "nobody":
                raise InvalidRequest("No.", param="user")

    plugin = Asked()
    async with serving_with(monkeypatch, plugin) as (served, ollama):
        assert (await ask(served, n=3, max_tokens=5))[0] == 200
        assert (await ask(served, user="nobody"))[0] == 400

    assert plugin.pages == [("llama3.2", "llama3.2:latest", False, 15), ("llama3.2", "llama3.2:latest", False, None)]
    assert len(ollama.ledger.inference) == 3


async def test_hook_answer_may_know_pass_on_or_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Takes(Notes):
        @hookimpl
        async def answer(self, context: Context, call: NativeCall, forward: Forward) -> Answer | None:
            match context.user:
                case "known":
                    return self._known()
                case "taken":
                    return self._taken(forward)
            return None

        async def _known(self) -> AsyncIterator[Sequence[Record]]:
            yield [Record(message=Message(content="I know.")), Record(message=Message(), done=True)]

        async def _taken(self, forward: Forward) -> AsyncIterator[Sequence[Record]]:
            async for batch in forward():
                self.pages += batch
                yield batch

    plugin = Takes()
    async with serving_with(monkeypatch, plugin) as (served, ollama):
        ollama.next(say("Ollama says."), say("Ollama says."))
        bodies = [(await ask(served, user=user))[1] for user in ("known", "taken", "other")]

    assert ["I know." in body for body in bodies] == [True, False, False]
    assert ["Ollama says." in body for body in bodies] == [False, True, True]
    assert plugin.pages[-1].done


class Places(Notes):
    def __init__(self, name: str, pages: list[Any], refuse: bool = False) -> None:
        self.pages, self._name, self._refuse = pages, name, refuse

    @hookimpl
    async def dispatch(self, call: NativeCall) -> Release:
        if self._refuse:
            raise ConcurrencyLimit("Full.")
        self.pages.append(f"{self._name} given")
        return lambda: self.pages.append(f"{self._name} back")


@pytest.mark.parametrize("behaviour", [say("Hello."), fail(), cut(after_records=1)])
async def test_hook_dispatch_gives_places_that_come_back_once_however_it_ends(
    monkeypatch: pytest.MonkeyPatch, behaviour: Any
) -> None:
    pages: list[Any] = []
    async with serving_with(monkeypatch, Places("a", pages), Places("b", pages)) as (served, ollama):
        ollama.next(behaviour)
        await ask(served, stream=True)

    assert pages == ["a given", "b given", "b back", "a back"]


async def test_hook_dispatch_that_refuses_gives_back_what_others_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[Any] = []
    async with serving_with(monkeypatch, Places("a", pages), Places("b", pages, refuse=True)) as (served, ollama):
        assert (await ask(served))[0] == 429

    assert pages == ["a given", "a back"]
    assert not ollama.ledger.inference


class Sees(Notes):
    @hookimpl
    async def answered(self, context: Context, call: NativeCall, answer: Record) -> None:
        self.pages.append((call.index, answer.message.content if answer.message else None, answer.done))


@pytest.mark.parametrize("stream", [False, True])
async def test_hook_answered_sees_whole_answers_only(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    plugin = Sees()
    async with serving_with(monkeypatch, plugin) as (served, ollama):
        ollama.next(say("A whole one."), cut(after_bytes=60), fail())
        for _ in range(3):
            await ask(served, stream=stream)

    assert plugin.pages == [(0, "A whole one.", True)]


async def test_hook_finished_comes_once_for_every_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ends(Notes):
        @hookimpl
        async def finished(self, context: Context, outcome: Outcome) -> None:
            self.pages.append((outcome.ended, outcome.status, outcome.error))

    plugin = Ends()
    async with serving_with(monkeypatch, plugin) as (served, ollama):
        await ask(served)
        await ask(served, model="nothing")
        ollama.next(fail())
        await ask(served)
        await served.raw(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert plugin.pages == [
        ("complete", 200, None),
        ("refused", 404, "model_not_found"),
        ("upstream_failed", 502, "upstream_error"),
        ("refused", 404, "not_found"),
    ]


def test_hook_keeper_is_asked_of_each_plugin_that_has_one() -> None:
    class Keeps:
        def __init__(self, keeper: Keeper | None) -> None:
            self._keeper = keeper

        @hookimpl
        def keeper(self) -> Keeper | None:
            return self._keeper

    keeper = Keeper()

    assert Hooks([("a", Keeps(keeper)), ("b", Keeps(None)), ("c", Notes())]).keepers() == {"a": keeper}


def test_a_contract_without_blocking_hooks() -> None:
    """Hooks that are asked while requests run are coroutines: nothing that waits can be written by mistake."""
    plain: list[Callable[..., Any]] = []
    from tornado_gateway.cli.plugins import HOOKS
    from tornado_gateway.hookspecs import GatewayHooks

    for name in HOOKS:
        hook = getattr(GatewayHooks, name)
        if not asyncio.iscoroutinefunction(hook):
            plain.append(hook)

    assert {hook.__name__ for hook in plain} == {"routes", "commands", "keeper"}
