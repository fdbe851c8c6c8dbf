"""C05, C23, C53, C54: a plugin that fails, waits for ever or meddles costs what it must, and never a wrong answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from faults.oracles import AUTH, KEY, Watched, serving
from pydantic import BaseModel
from serving import Served, chat_request

from tornado_gateway import discovery
from tornado_gateway.app import Gateway
from tornado_gateway.config import Settings
from tornado_gateway.hookspecs import (
    Context,
    Forward,
    GatewayError,
    InvalidRequest,
    Message,
    NativeCall,
    Outcome,
    Principal,
    RateLimitExceeded,
    Record,
    StartupRefused,
    hookimpl,
)
from tornado_gateway.testing import FakeOllama, say
from tornado_gateway.wire.openai_chat_encode import StreamEncoder

BODY = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}
ONCE, STREAMED = json.dumps(BODY).encode(), json.dumps({**BODY, "stream": True}).encode()
FAILURES = ("hook_failed", "hook_answered_nonsense", "request_failed")


class Plugin:
    """Built by hand in these tests, as the gateway builds an installed one."""

    class Settings(BaseModel):
        pass


@asynccontextmanager
async def serving_with(
    monkeypatch: pytest.MonkeyPatch, ollama: FakeOllama, *mine: Plugin, plugins: Sequence[Any] = (AUTH,)
) -> AsyncIterator[Watched]:
    """`mine` come first."""
    built = discovery.build_plugins
    named = [(f"mine{number}", plugin) for number, plugin in enumerate(mine)]
    monkeypatch.setattr("tornado_gateway.app.build_plugins", lambda settings: [*named, *built(settings)])
    async with serving(ollama.url, plugins=plugins, expected=FAILURES) as served:
        yield served


class Doorkeeper(Plugin):
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    @hookimpl
    async def authenticate(self, context: Context) -> Principal | None:
        if isinstance(self._answer, Exception):
            raise self._answer
        if self._answer == "waits":
            await asyncio.Event().wait()
        answer: Principal | None = self._answer
        return answer


@pytest.mark.parametrize("answer", [RuntimeError("the store is away"), "ada", True, {}, None, "waits"], ids=repr)
async def test_c05_who_cannot_be_known_is_neither_let_in_nor_called_wrong(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr("tornado_gateway.hooks.BUDGET_SECONDS", 0.2)
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, Doorkeeper(answer), plugins=[]) as served:
        refused = await served.ask(ONCE)

        assert (refused.status, refused.error["code"]) == (503, "auth_unavailable")
        assert refused.headers["x-should-retry"] == "true"
        assert not ollama.ledger.inference


class BreaksOff(Plugin):
    """Answers itself, and fails behind five records."""

    @hookimpl
    async def answer(self, context: Context, call: NativeCall, forward: Forward) -> AsyncIterator[Sequence[Record]]:
        return self._records()

    async def _records(self) -> AsyncIterator[Sequence[Record]]:
        for number in range(5):
            yield [Record(message=Message(content=f"{number} "))]
            await asyncio.sleep(0)
        raise RuntimeError("a fault of this plugin")


async def test_c23_a_plugin_that_fails_in_mid_answer_leaves_a_stream_that_is_seen_to_be_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, BreaksOff()) as served:
        streamed, once = await served.ask(STREAMED), await served.ask(ONCE)

        assert streamed.text == "0 1 2 3 4 "
        assert streamed.error["code"] == "internal_error"
        assert not streamed.whole
        assert (once.status, once.error["code"]) == (500, "internal_error")
        assert "fault of this plugin" not in str((streamed.error, once.error))


async def test_c23_a_translator_that_fails_in_mid_answer_leaves_a_stream_that_is_seen_to_be_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama) as served:
        ollama.next(say("1 2 3 4 5 6 7 8", tokens_per_second=100))
        feed, fed = StreamEncoder.feed, 0

        def poisoned(encoder: StreamEncoder, index: int, batch: Sequence[Any]) -> bytes:
            nonlocal fed
            fed += 1
            return feed(encoder, index, batch if fed < 6 else [object()])  # type: ignore[list-item]  # that is the poison

        monkeypatch.setattr(StreamEncoder, "feed", poisoned)
        answer = await served.ask(STREAMED)

        assert answer.text.startswith("1 2 3")
        assert answer.error["code"] == "internal_error"
        assert not answer.whole


class BrokenCache(Plugin):
    def __init__(self, *, blocks: bool = False) -> None:
        self._blocks = blocks

    async def _fail(self) -> None:
        if self._blocks:
            await asyncio.Event().wait()
        raise OSError(28, "No space left on device")

    @hookimpl
    async def answer(self, context: Context, call: NativeCall, forward: Forward) -> None:
        await self._fail()

    @hookimpl
    async def answered(self, context: Context, call: NativeCall, answer: Record) -> None:
        await self._fail()


@pytest.mark.parametrize("blocks", [False, True])
async def test_c53_a_broken_cache_costs_time_and_no_answers(monkeypatch: pytest.MonkeyPatch, blocks: bool) -> None:
    monkeypatch.setattr("tornado_gateway.hooks.BUDGET_SECONDS", 0.1)
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, BrokenCache(blocks=blocks)) as served:
        ollama.next(*[say("Good day.")] * 10)

        answers = await asyncio.gather(*(served.ask(body) for body in [ONCE, STREAMED] * 5))

        assert all(answer.status == 200 and answer.whole and b"Good" in answer.body for answer in answers)
        assert len(ollama.ledger.inference) == 10


class Notes(Plugin):
    def __init__(self, name: str, said: list[str]) -> None:
        self.name, self.said = name, said

    @hookimpl
    async def admit(self, context: Context) -> None:
        self.said.append(f"{self.name} admits")

    @hookimpl
    async def finished(self, context: Context) -> None:
        self.said.append(f"{self.name} ends")


async def test_c54_two_plugins_with_the_same_hook_are_called_in_order_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, Notes("one", said), Notes("two", said)) as served:
        await served.ask(ONCE)

        assert said == ["one admits", "two admits", "two ends", "one ends"]


class Meddler(Plugin):
    """Tries to become somebody else, and to change what others are asked."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    @hookimpl
    async def admit(self, context: Context) -> None:
        for value, name, meant in ((context, "principal", Principal("root")), (context.principal, "models", None)):
            try:
                setattr(value, name, meant)
            except AttributeError:
                self.failed.append(name)

    @hookimpl
    async def dispatch(self, context: Context, call: NativeCall) -> None:
        call.request()["messages"].clear()
        try:
            call.body = b"{}"  # type: ignore[misc]  # what it must not do
        except AttributeError:
            self.failed.append("body")


async def test_c54_a_plugin_cannot_change_who_asks_and_what(monkeypatch: pytest.MonkeyPatch) -> None:
    meddler = Meddler()
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, meddler) as served:
        assert (await served.ask(ONCE)).status == 200

    assert meddler.failed == ["principal", "models", "body"]
    assert ollama.ledger.inference[0].body["messages"] == BODY["messages"]


async def test_c54_a_plugin_that_cannot_be_started_stops_the_start_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses(Plugin):
        @hookimpl
        async def startup(self) -> None:
            raise ImportError("No module named 'ldap'")

    monkeypatch.setattr("tornado_gateway.app.build_plugins", lambda settings: [("ldap", Refuses())])

    with pytest.raises(StartupRefused, match=r"ldap.*No module named 'ldap'"):
        async with Gateway(Settings(plugins=()), announce=lambda _: None):
            pass


class Odd(GatewayError):
    """A class of a plugin's own, which says what cannot be written."""

    def body(self) -> Any:
        return {"message": self}


class Refuses(Plugin):
    """Refuses with what `make` gives, in one of its hooks; notes how requests end."""

    def __init__(self, hook: str, make: Callable[[], GatewayError]) -> None:
        self._hook, self._make = hook, make
        self.outcomes: list[Outcome] = []

    def _refuse(self, hook: str) -> None:
        if hook == self._hook:
            raise self._make()

    @hookimpl
    async def authenticate(self, context: Context) -> Principal:
        self._refuse("authenticate")
        return Principal("somebody")

    @hookimpl
    async def admit(self, context: Context) -> None:
        self._refuse("admit")

    @hookimpl
    async def dispatch(self, context: Context, call: NativeCall) -> None:
        self._refuse("dispatch")

    @hookimpl
    async def finished(self, context: Context, outcome: Outcome) -> None:
        if context.method == "POST":  # not the questions for the gateway's health
            self.outcomes.append(outcome)


def cannot_be_made() -> list[Callable[[], GatewayError]]:
    unlike_seconds: list[Any] = [timedelta(seconds=5), float("inf"), float("nan"), "soon"]
    return [
        *[lambda seconds=seconds: RateLimitExceeded("Slow.", retry_after=seconds) for seconds in unlike_seconds],
        lambda: InvalidRequest("No.", headers={"X-A": "a\r\nX-Evil: b"}),
    ]


@pytest.mark.parametrize("hook", ["authenticate", "admit", "dispatch"])
@pytest.mark.parametrize("make", cannot_be_made())
async def test_c23_an_error_that_cannot_be_made_is_a_failure_like_any_other(
    monkeypatch: pytest.MonkeyPatch, hook: str, make: Callable[[], GatewayError]
) -> None:
    plugin = Refuses(hook, make)
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, plugin, plugins=[]) as served:
        once, streamed = await served.ask(ONCE), await served.ask(STREAMED)

        assert [(answer.status, answer.error["code"]) for answer in (once, streamed)] == [(503, "auth_unavailable")] * 2
        assert "x-evil" not in once.headers
        assert served.gateway.services.hooks.times()[f"mine0.{hook}"]["failures"] == 2
    assert [(outcome.status, outcome.error) for outcome in plugin.outcomes] == [(503, "auth_unavailable")] * 2


@pytest.mark.parametrize("hook", ["authenticate", "admit", "dispatch"])
async def test_c23_an_error_that_cannot_be_written_is_a_fault_and_the_request_ends(
    monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    plugin = Refuses(hook, lambda: Odd("No."))
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, plugin, plugins=[]) as served:
        answer = await served.ask(ONCE)

        assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert [(outcome.ended, outcome.error) for outcome in plugin.outcomes] == [("failed", "internal_error")]


@pytest.mark.parametrize("body", [ONCE, STREAMED])
async def test_c23_where_nothing_at_all_can_be_written_the_connection_ends(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    class Spoils(Refuses):
        @hookimpl
        async def admit(self, context: Context) -> None:
            context.response_headers["X-Spoiled"] = Unspeakable()  # type: ignore[assignment]  # past `add_header`
            raise InvalidRequest("No.")

    class Unspeakable:
        def __format__(self, _: str) -> str:
            raise ZeroDivisionError

    plugin = Spoils("", lambda: Odd("No."))
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, plugin, plugins=[]) as served:
        assert await served.raw(chat_request(body)) == b""
    assert [(outcome.ended, outcome.error) for outcome in plugin.outcomes] == [("failed", "internal_error")]


async def test_c23_last_words_that_cannot_be_written_end_the_stream_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class BreaksOddly(Refuses):
        @hookimpl
        async def answer(self, context: Context, call: NativeCall) -> AsyncIterator[Sequence[Record]]:
            return self._records()

        async def _records(self) -> AsyncIterator[Sequence[Record]]:
            yield [Record(message=Message(content="a part"))]
            raise Odd("No.")

    plugin = BreaksOddly("", lambda: Odd("No."))
    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, plugin, plugins=[]) as served:
        answer = await Served.raw(served, chat_request(STREAMED))

        assert b"a part" in answer
        assert not answer.endswith(b"0\r\n\r\n")
    assert [(outcome.ended, outcome.error) for outcome in plugin.outcomes] == [("failed", "internal_error")]


async def test_o1_a_key_in_a_plugins_exception_does_not_reach_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tells(Plugin):
        @hookimpl
        async def admit(self, context: Context) -> None:
            raise ValueError(f"cannot read {context.headers['authorization']}")

    async with FakeOllama() as ollama, serving_with(monkeypatch, ollama, Tells()) as served:
        answer = await served.ask(ONCE)

        assert answer.status == 503
        assert KEY.encode() not in answer.body
