"""The rules by which hooks are called: order, refusals, failures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable
from types import MappingProxyType
from typing import Any

import pytest

from tornado_gateway.binding import Place
from tornado_gateway.context import Context, Outcome
from tornado_gateway.errors import AuthenticationFailed, AuthUnavailable, InvalidRequest, UpstreamUnavailable
from tornado_gateway.hooks import ANONYMOUS, Hooks
from tornado_gateway.hookspecs import GatewayHooks, Principal, Record, ServerFacts, StartupRefused, hookimpl
from tornado_gateway.wire.ollama import NativeCall

CALL = NativeCall("/api/chat", "m:latest", "d", b"{}", stream=False)
SERVER = ServerFacts("127.0.0.1", 3000, loopback=True, announce=lambda _: None)


def context() -> Context:
    return Context("id", time.time(), time.monotonic(), "127.0.0.1", "POST", "/", MappingProxyType({}))


class Diary:
    """A plugin that writes down when it is called, and does as it is told."""

    def __init__(self, name: str, pages: list[str], *, raises: Exception | None = None, says: Any = None) -> None:
        self.name, self.pages, self.raises, self.says = name, pages, raises, says

    def note(self, hook: str) -> Any:
        self.pages.append(f"{self.name}.{hook}")
        if self.raises is not None:
            raise self.raises
        return self.says

    @hookimpl
    async def startup(self, server: ServerFacts) -> None:
        self.note("startup")

    @hookimpl
    async def shutdown(self) -> None:
        self.note("shutdown")

    @hookimpl
    async def authenticate(self, context: Context) -> Any:
        return self.note("authenticate")

    @hookimpl
    async def admit(self, context: Context) -> None:
        self.note("admit")

    @hookimpl
    async def answer(self, context: Context, call: NativeCall) -> Any:
        return self.note("answer")

    @hookimpl
    async def dispatch(self, call: NativeCall) -> Any:
        return self.note("dispatch")

    @hookimpl
    async def answered(self, answer: Record) -> None:
        self.note("answered")

    @hookimpl
    async def finished(self, outcome: Outcome) -> None:
        self.note("finished")


async def test_hooks_are_called_in_the_order_of_the_list_and_back() -> None:
    pages: list[str] = []
    hooks = Hooks([("a", Diary("a", pages)), ("b", Diary("b", pages))])

    await hooks.startup(SERVER)
    await hooks.admit(context())
    await hooks.dispatch(context(), CALL, [])
    await hooks.answered(context(), CALL, Record(done=True))
    await hooks.finished(context(), Outcome("complete", 200))
    await hooks.shutdown()

    assert pages == [
        "a.startup", "b.startup", "a.admit", "b.admit", "a.dispatch", "b.dispatch",
        "b.answered", "a.answered", "b.finished", "a.finished", "b.shutdown", "a.shutdown",
    ]  # fmt: skip


async def test_the_first_principal_decides() -> None:
    pages: list[str] = []
    someone = Principal("someone")
    hooks = Hooks([("a", Diary("a", pages)), ("b", Diary("b", pages, says=someone)), ("c", Diary("c", pages))])

    assert await hooks.authenticate(context()) is someone
    assert pages == ["a.authenticate", "b.authenticate"]


async def test_without_an_authenticator_everybody_is_anonymous() -> None:
    assert await Hooks([]).authenticate(context()) is ANONYMOUS


@pytest.mark.parametrize("says", [None, "yes", True, {"name": "someone"}])
async def test_c05_an_answer_that_is_no_principal_opens_no_door(says: object) -> None:
    hooks = Hooks([("a", Diary("a", [], says=says))])

    with pytest.raises(AuthUnavailable):
        await hooks.authenticate(context())


async def test_c05_an_authenticator_that_fails_opens_no_door() -> None:
    hooks = Hooks([("a", Diary("a", [], raises=KeyError("no such table"))), ("b", Diary("b", [], says=Principal("b")))])

    with pytest.raises(AuthUnavailable):
        await hooks.authenticate(context())


async def test_a_refusal_of_authentication_is_passed_on() -> None:
    hooks = Hooks([("a", Diary("a", [], raises=AuthenticationFailed("No.")))])

    with pytest.raises(AuthenticationFailed):
        await hooks.authenticate(context())


async def test_an_admission_that_fails_is_a_503_and_a_refusal_is_itself() -> None:
    with pytest.raises(UpstreamUnavailable):
        await Hooks([("a", Diary("a", [], raises=ZeroDivisionError()))]).admit(context())
    with pytest.raises(InvalidRequest):
        await Hooks([("a", Diary("a", [], raises=InvalidRequest("No.")))]).admit(context())


async def test_an_answer_that_fails_counts_as_nothing_known() -> None:
    async def forward() -> Any:
        yield [Record(done=True)]

    hooks = Hooks([("a", Diary("a", [], raises=ZeroDivisionError()))])

    answer = await hooks.answer(context(), CALL, forward)

    assert isinstance(answer, AsyncIterable)
    assert [batch async for batch in answer] == [[Record(done=True)]]


@pytest.mark.parametrize("says", [[Record(response="a"), Record(done=True)], (Record(embeddings=[]),)])
async def test_an_answer_that_is_known_as_a_whole_may_be_a_list(says: object) -> None:
    hooks = Hooks([("a", Diary("a", [], says=says))])

    assert await hooks.answer(context(), CALL, lambda: pytest.fail("asked")) is says


@pytest.mark.parametrize("says", [[], [Record(response="a")], [Record(done=True), "b"], "ab"])
async def test_a_list_that_is_no_whole_answer_counts_as_nothing_known(says: object) -> None:
    async def forward() -> Any:
        yield [Record(done=True)]

    answer = await Hooks([("a", Diary("a", [], says=says))]).answer(context(), CALL, forward)

    assert isinstance(answer, AsyncIterable)
    assert [batch async for batch in answer] == [[Record(done=True)]]


async def test_places_that_were_given_are_given_back_when_a_later_plugin_refuses() -> None:
    given: list[str] = []
    places: list[Place] = []
    hooks = Hooks(
        [
            ("a", Diary("a", [], says=lambda: given.append("a"))),
            ("b", Diary("b", [], says=lambda: 1 / 0)),
            ("c", Diary("c", [], raises=InvalidRequest("No."))),
        ]
    )

    with pytest.raises(InvalidRequest):
        await hooks.dispatch(context(), CALL, places)
    hooks.release(places)
    hooks.release(places)

    assert given == ["a"]


async def test_finished_is_told_to_all_whatever_one_of_them_does() -> None:
    pages: list[str] = []
    hooks = Hooks([("a", Diary("a", pages)), ("b", Diary("b", pages, raises=RuntimeError("full")))])

    await hooks.finished(context(), Outcome("complete", 200))

    assert pages == ["b.finished", "a.finished"]


async def test_one_that_hangs_at_the_end_leaves_time_for_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Hangs(Diary):
        @hookimpl
        async def shutdown(self) -> None:
            self.note("shutdown")
            await asyncio.Event().wait()

    pages: list[str] = []
    plugins = [("a", Diary("a", pages)), ("b", Hangs("b", pages)), ("c", Hangs("c", pages))]
    hooks = Hooks(plugins)
    await hooks.startup(SERVER)
    ends_at = time.monotonic() + 0.4

    await hooks.shutdown(ends_at)

    assert time.monotonic() < ends_at
    assert pages[3:] == ["c.shutdown", "b.shutdown", "a.shutdown"]
    failed = [record.__dict__["facts"]["plugin"] for record in caplog.records if record.msg == "hook_failed"]
    assert failed == ["c", "b"]


async def test_a_hook_that_is_not_done_at_the_end_is_named(caplog: pytest.LogCaptureFixture) -> None:
    class Hangs:
        @hookimpl
        async def admit(self, context: Context) -> None:
            await asyncio.Event().wait()

    hooks = Hooks([("done", Diary("done", [])), ("hangs", Hangs())])
    tasks = [asyncio.ensure_future(hooks.admit(context())) for _ in range(2)]
    await asyncio.sleep(0)

    await hooks.shutdown()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await hooks.shutdown()

    assert [(record.msg, record.__dict__["facts"]) for record in caplog.records] == [
        ("hook_unfinished", {"plugin": "hangs", "hook": "admit", "times": 2})
    ]


async def test_when_one_does_not_start_the_started_are_shut_down() -> None:
    pages: list[str] = []
    hooks = Hooks([("a", Diary("a", pages)), ("b", Diary("b", pages, raises=OSError("disk full")))])

    with pytest.raises(StartupRefused, match="plugin b did not start: disk full"):
        await hooks.startup(SERVER)

    assert pages == ["a.startup", "b.startup", "a.shutdown"]


def test_a_misspelt_hook_is_told_by_the_plugins_name() -> None:
    class Misspelt:
        @hookimpl
        async def admitt(self, context: Context) -> None: ...

    with pytest.raises(StartupRefused, match=r"^plugin m: unknown hook 'admitt'$"):
        Hooks([("other", object()), ("m", Misspelt())])


def test_a_misspelt_argument_is_told_by_the_plugins_name() -> None:
    class Misspelt:
        @hookimpl
        async def admit(self, contxt: Context) -> None: ...

    with pytest.raises(StartupRefused, match=r"^plugin m: .* hook 'admit' .*'contxt'"):
        Hooks([("other", object()), ("m", Misspelt())])


async def test_a_hook_that_is_not_a_coroutine_function_is_an_error() -> None:
    class Blocking:
        @hookimpl
        def admit(self, context: Context) -> None: ...

    with pytest.raises(StartupRefused, match="async def"):
        Hooks([("m", Blocking())])


async def test_settings_reach_the_plugin_whose_they_are() -> None:
    class Learner:
        settings: object = None

        @hookimpl
        async def reconfigure(self, settings: object) -> None:
            self.settings = settings

    a, b = Learner(), Learner()
    hooks = Hooks([("a", a), ("b", b)])

    await hooks.reconfigure({"a": 1, "b": 2})

    assert (a.settings, b.settings) == (1, 2)


async def test_cancelling_a_hook_is_not_a_failure_of_it() -> None:
    entered = asyncio.Event()

    class Waits:
        @hookimpl
        async def dispatch(self, context: Context, call: NativeCall) -> None:
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(Hooks([("w", Waits())]).dispatch(context(), CALL, []))
    await entered.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_plugin_that_uses_what_is_about_to_go_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    specification: dict[str, Any] = GatewayHooks.admit.tornado_gateway_spec  # type: ignore[attr-defined]  # pluggy's mark
    monkeypatch.setitem(specification, "warn_on_impl", DeprecationWarning("`admit` goes in 2.0; use `allow`."))

    await Hooks([("old", Diary("old", []))]).startup(SERVER)

    assert [(record.getMessage(), record.__dict__["facts"]) for record in caplog.records] == [
        ("hook_deprecated", {"plugin": "old", "reason": "`admit` goes in 2.0; use `allow`."})
    ]
