"""The table of outcomes in docs/hooks.md: what becomes of a request, or of the server, when a plugin misbehaves (C05, C23, C53, C54)."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
from misbehaving import BrokenPart, Misbehaviour, Witness, broken, sane
from serving import AUTH, Served, chat_request, serving

from docs.outcomes import MISBEHAVIOURS, OUTCOMES, PARTS, Fate
from tornado_gateway.app import Gateway
from tornado_gateway.cli import extra
from tornado_gateway.cli.plugins import HOOKS
from tornado_gateway.config import Settings
from tornado_gateway.hooks import Hooks
from tornado_gateway.hookspecs import Message, PluginResponse, Record, Route, StartupRefused, hookimpl
from tornado_gateway.testing import Behaviour, FakeOllama

CITY = {"name": "weather", "arguments": {"city": "Paris"}}
BODY = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}
CASES = [(hook, kind, fate) for hook, row in OUTCOMES.items() for kind, fate in row.items() if fate is not Fate.NONE]
PARTS_CASES = [(part, kind, fate) for part, row in PARTS.items() for kind, fate in row.items() if fate is not Fate.NONE]

Logged = list[tuple[str, str | None]]


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tornado_gateway.hooks.BUDGET_SECONDS", 0.05)
    monkeypatch.setattr("tornado_gateway.binding.SLOW_SECONDS", 0.02)


@pytest.fixture
def ollama_says() -> Behaviour:
    return Behaviour(text="sane", tool_calls=[CITY])


@asynccontextmanager
async def serving_with(
    monkeypatch: pytest.MonkeyPatch, plugin: object, witness: Witness
) -> AsyncIterator[tuple[Served, FakeOllama]]:
    monkeypatch.setattr("tornado_gateway.app.build_plugins", lambda settings: [("mine", plugin), ("witness", witness)])
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[]) as served:
        yield served, ollama


async def get(served: Served, path: str) -> tuple[int, Any]:
    answer = await served.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return status_and_body(answer)


async def ask(served: Served, *, stream: bool = False) -> tuple[int, Any]:
    body = json.dumps({**BODY, "stream": stream}).encode()
    return status_and_body(await served.raw(chat_request(body, more="Connection: close\r\n")))


def status_and_body(answer: bytes) -> tuple[int, Any]:
    head, _, rest = answer.partition(b"\r\n\r\n")
    body = json.loads(rest) if b"application/json" in head else rest.decode()
    return int(head.split()[1]), body


def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    """Event and plugin of each line about a hook, but for the sums at the end."""
    return [
        (record.getMessage(), record.__dict__["facts"].get("plugin"))
        for record in caplog.records
        if record.getMessage().startswith(("hook_", "plugin_", "request_failed")) and record.getMessage() != "hook_times"
    ]


def assert_whole(status: int, body: Any, witness: Witness) -> None:
    """The caller has the whole answer, and nobody else saw a change."""
    message = body["choices"][0]["message"]
    assert (status, message["content"]) == (200, "sane")
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}
    (answer,) = witness.answers
    assert answer.message
    assert answer.message.tool_calls
    assert answer.message.tool_calls[0].function.arguments == {"city": "Paris"}
    (context,) = witness.contexts
    assert (context.model, context.method) == ("llama3.2", "POST")
    assert "x-vandalised" not in context.headers
    assert [outcome.ended for outcome in witness.outcomes if outcome.dispatched] == ["complete"]


def test_every_hook_has_its_row() -> None:
    assert sorted(OUTCOMES) == sorted(HOOKS)
    assert all(tuple(row) == MISBEHAVIOURS for row in (*OUTCOMES.values(), *PARTS.values()))


REQUEST_FATES = (
    Fate.NO_DOOR, Fate.NOT_ADMITTED, Fate.UNKNOWN, Fate.UNCHANGED, Fate.LOGGED, Fate.IGNORED, Fate.SLOW, Fate.ISOLATED,
    Fate.NOT_READY, Fate.KEEPS,
)  # fmt: skip
CALLED_ONLY_WITHOUT_REQUESTS = ("routes", "commands", "keeper")


@pytest.mark.parametrize(
    ("hook", "kind", "fate"),
    [case for case in CASES if case[2] in REQUEST_FATES and case[0] not in CALLED_ONLY_WITHOUT_REQUESTS],
)
async def test_a_server_with_a_plugin_that_misbehaves_does_what_the_table_says(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ollama_says: Behaviour, hook: str, kind: str, fate: Fate
) -> None:
    witness, misbehaviour = Witness(), Misbehaviour(kind, sane(hook))

    async with serving_with(monkeypatch, broken(hook, misbehaviour), witness) as (served, ollama):
        ollama.next(ollama_says)
        await served.gateway.services.hooks.reconfigure({"mine": object()})
        ready = await get(served, "/readyz")
        status, body = await ask(served)

    assert misbehaviour.entered.is_set()
    if fate in (Fate.NO_DOOR, Fate.NOT_ADMITTED):
        assert status == 503
        assert body["error"]["code"] == "auth_unavailable"
        assert not ollama.ledger.inference
        assert witness.outcomes[-1].status == 503
    else:
        assert_whole(status, body, witness)
    assert (ready[0] == 503 and ready[1]["reason"].startswith("mine: ")) == (fate is Fate.NOT_READY)
    assert_told(logged(caplog), kind, fate, hook)


def assert_told(told: Logged, kind: str, fate: Fate, hook: str) -> None:
    about_mine = {event for event, plugin in told if plugin == "mine"} - (
        {"plugin_keeps_settings"} if hook != "reconfigure" else set()
    )
    if fate in (Fate.IGNORED, Fate.ISOLATED):
        assert about_mine == set()
    elif fate is Fate.SLOW:
        assert about_mine == {"hook_slow"}
    else:
        assert about_mine == {"hook_answered_nonsense" if kind == "answers nonsense" else "hook_failed"}


@pytest.mark.parametrize(("hook", "kind"), [case[:2] for case in CASES if case[2] is Fate.NO_START])
async def test_a_server_with_a_plugin_that_misbehaves_at_the_start_says_why_it_does_not(
    monkeypatch: pytest.MonkeyPatch, hook: str, kind: str
) -> None:
    plugin = broken(hook, Misbehaviour(kind))

    with pytest.raises(StartupRefused, match="plugin mine"):
        if hook == "keeper":
            Hooks([("mine", plugin)]).keepers()
        else:
            await start(monkeypatch, plugin)


async def start(monkeypatch: pytest.MonkeyPatch, plugin: object) -> None:
    monkeypatch.setattr("tornado_gateway.app.build_plugins", lambda settings: [("mine", plugin)])
    async with Gateway(Settings(plugins=())) as gateway:
        gateway.application()


class _Tells(logging.Handler):
    """Says when a line comes."""

    def __init__(self, told: asyncio.Event) -> None:
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "hook_waits":
            self._told.set()


async def test_a_startup_that_waits_is_told_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OUTCOMES["startup"]["waits for ever"] is Fate.STARTS_LATE
    told = asyncio.Event()
    handler = _Tells(told)
    logging.getLogger("tornado_gateway").addHandler(handler)
    task = asyncio.ensure_future(start(monkeypatch, broken("startup", Misbehaviour("waits for ever"))))

    await asyncio.wait_for(told.wait(), 5)
    logging.getLogger("tornado_gateway").removeHandler(handler)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("hook", ["routes", "commands", "keeper"])
def test_a_plain_hook_that_blocks_is_late_and_counts(hook: str) -> None:
    assert OUTCOMES[hook]["blocks 5 s"] is Fate.LATE
    misbehaviour = Misbehaviour("blocks 5 s", sane(hook))
    hooks = Hooks([("mine", broken(hook, misbehaviour))])

    assert hooks.routes() == []
    assert hooks.keepers() == {}
    assert hook == "commands" or misbehaviour.entered.is_set()


@pytest.mark.parametrize("kind", ["raises", "answers nonsense"])
def test_commands_that_cannot_be_had_are_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert OUTCOMES["commands"][kind] is Fate.REPORTED
    monkeypatch.setattr(extra, "load", lambda: type("Loaded", (), {"settings": Settings(plugins=())}))
    monkeypatch.setattr(extra, "build_plugins", lambda settings: [("mine", broken("commands", Misbehaviour(kind)))])

    assert extra.plugin_commands() == {}

    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "mine" in told[0]


async def test_a_place_that_never_comes_free_is_waited_for_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OUTCOMES["dispatch"]["waits for ever"] is Fate.QUEUED
    await _leave_while_waiting(monkeypatch, "dispatch")


async def test_records_that_never_come_are_waited_for_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PARTS["the records of `answer`"]["waits for ever"] is Fate.QUEUED
    await _leave_while_waiting(monkeypatch, "the records of `answer`")


async def _leave_while_waiting(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    witness, misbehaviour = Witness(), Misbehaviour("waits for ever")
    plugin = broken(place, misbehaviour) if place in OUTCOMES else BrokenPart(place, misbehaviour)

    async with serving_with(monkeypatch, plugin, witness) as (served, _):
        _, writer = await served.connect()
        writer.write(chat_request(json.dumps(BODY).encode()))
        await asyncio.wait_for(misbehaviour.entered.wait(), 5)
        writer.close()
        async with asyncio.timeout(5):
            await served.gateway.services.idle.wait()

    assert [outcome.ended for outcome in witness.outcomes] == ["client_left"]


@pytest.mark.parametrize(("part", "kind", "fate"), [case for case in PARTS_CASES if case[2] is not Fate.QUEUED])
async def test_what_a_hook_gave_may_misbehave_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ollama_says: Behaviour, part: str, kind: str, fate: Fate
) -> None:
    witness, misbehaviour = Witness(), Misbehaviour(kind)
    plugin = BrokenPart(part, misbehaviour)

    async with serving_with(monkeypatch, plugin, witness) as (served, ollama):
        ollama.next(ollama_says)
        if "route" in part:
            status, body = await get(served, "/plugins/mine/broken")
        else:
            status, body = await ask(served)

    assert misbehaviour.entered.is_set()
    if fate is Fate.FAULT:
        assert (status, body["error"]["code"]) == (500, "internal_error")
        assert ("request_failed", None) in logged(caplog)
    elif part.endswith("route"):
        assert (status, body) == (200, {"sane": True})
    elif "answer" in part and fate is Fate.STALLS:
        assert status == 200
    elif fate is Fate.OWN:
        assert '"vandalised"' in body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
        (answer,) = witness.answers
        assert answer.message
        assert answer.message.tool_calls
        assert answer.message.tool_calls[0].function.arguments == {"city": "Paris"}
    else:
        assert_whole(status, body, witness)
        assert witness.released == 1
        assert len([event for event, _ in logged(caplog) if event in ("hook_failed", "hook_answered_nonsense")]) == (
            0 if fate in (Fate.IGNORED, Fate.STALLS, Fate.SLOW) else 1
        )


@pytest.mark.parametrize("kind", ["raises", "answers nonsense"])
async def test_c23_records_that_break_behind_a_part_end_the_stream_with_an_error(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    part = [Record(model="m", message=Message(content="a part"))]
    plugin = BrokenPart("the records of `answer`", Misbehaviour(kind), after=part)

    async with serving_with(monkeypatch, plugin, Witness()) as (served, ollama):
        status, body = await ask(served, stream=True)

    assert status == 200
    assert "a part" in body
    assert '"code":"internal_error"' in body
    assert "[DONE]" not in body
    assert "\r\n0\r\n" not in body
    assert not ollama.ledger.inference


async def cancelled() -> None:
    """What a task of a plugin's own ends with when its pool was closed, say."""
    task = asyncio.ensure_future(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(task.cancel)
    await task


async def exits() -> None:
    await asyncio.sleep(0)
    raise SystemExit(3)


class EndsMore:
    """Its records fail with what would end more than them; with `late` when they are closed."""

    def __init__(self, fail: Callable[[], Awaitable[None]], *, late: bool) -> None:
        self._fail, self._late, self._over = fail, late, False

    @hookimpl
    async def answer(self, context: object, call: object) -> EndsMore:
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[Record]:
        if not self._late:
            await self._fail()
        self._over, over = True, self._over
        if over:
            raise StopAsyncIteration
        return [Record(model="m", message=Message(content="sane"), done=True)]

    async def aclose(self) -> None:
        if self._late:
            await self._fail()


class EndsMoreElsewhere:
    """The function of its `transform` and the handler of its route do so; with `knows` it has the answer itself."""

    def __init__(self, error: BaseException, *, knows: bool = False) -> None:
        self._error, self._knows = error, knows

    @hookimpl
    async def answer(self, context: object, call: object) -> Sequence[Record] | None:
        return [Record(model="m", message=Message(content="sane"), done=True)] if self._knows else None

    @hookimpl
    async def transform(self, context: object, call: object) -> Callable[[Record], Record]:
        return self._end

    def _end(self, record: Record) -> Record:
        raise self._error

    @hookimpl
    def routes(self) -> list[Route]:
        return [Route("/ends", self._handle)]

    async def _handle(self, request: object) -> PluginResponse:
        if isinstance(self._error, asyncio.CancelledError):
            await cancelled()
        raise self._error


ENDS_MORE = [SystemExit(3), asyncio.CancelledError()]


@pytest.mark.parametrize("knows", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("error", ENDS_MORE, ids=repr)
async def test_c53_a_function_that_changes_records_ends_neither_the_request_nor_the_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: BaseException, stream: bool, knows: bool
) -> None:
    witness = Witness()
    async with serving_with(monkeypatch, EndsMoreElsewhere(error, knows=knows), witness) as (served, ollama):
        ollama.next(Behaviour(text="sane"))
        status, body = await ask(served, stream=stream)

    assert status == 200
    assert "sane" in str(body)
    assert len(ollama.ledger.inference) == (0 if knows else 1)
    assert [outcome.ended for outcome in witness.outcomes] == ["complete"]
    assert logged(caplog) == [("hook_failed", "mine")]


@pytest.mark.parametrize("error", ENDS_MORE, ids=repr)
async def test_c53_a_route_ends_neither_its_request_nor_the_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    witness = Witness()
    async with serving_with(monkeypatch, EndsMoreElsewhere(error), witness) as (served, _):
        status, body = await get(served, "/plugins/mine/ends")

    assert (status, body["error"]["code"]) == (500, "internal_error")
    assert [outcome.ended for outcome in witness.outcomes] == ["failed"]
    assert logged(caplog) == [("request_failed", None)]


async def never_runs() -> None:
    raise AssertionError("nobody awaits it")


@pytest.mark.parametrize(
    ("release", "event"),
    [(lambda: 1 / 0, "hook_failed"), (lambda: sys.exit(3), "hook_failed"), (never_runs, "hook_answered_nonsense")],
    ids=["raises", "exits", "is a coroutine"],
)
async def test_a_place_that_is_not_given_back_is_told_and_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, release: Any, event: str
) -> None:
    async def dispatch(self: object, context: object, call: object) -> Any:
        return release

    plugin, witness = type("Keeps", (), {"dispatch": hookimpl(dispatch)})(), Witness()
    monkeypatch.setattr("tornado_gateway.app.build_plugins", lambda _: [("witness", witness), ("mine", plugin)])
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[]) as served:
        ollama.next(Behaviour(text="sane"))
        status, _ = await ask(served)
        times = served.gateway.services.hooks.times()["mine.dispatch"]

    assert status == 200
    assert witness.released == 1
    assert times["failures"] == 1
    assert logged(caplog) == [(event, "mine")]


async def test_who_cancels_the_task_that_it_runs_in_stops_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def admit(self: object, context: object) -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()
        await asyncio.Event().wait()

    witness = Witness()
    async with serving_with(monkeypatch, type("Cancels", (), {"admit": hookimpl(admit)})(), witness) as (served, _):
        assert await served.raw(chat_request(json.dumps(BODY).encode())) == b""
        again, _ = await get(served, "/healthz")

    assert again == 200
    assert [outcome.ended for outcome in witness.outcomes] == ["failed", "complete"]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fail", [cancelled, exits])
async def test_c53_records_that_break_end_neither_the_request_nor_the_process(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fail: Callable[[], Awaitable[None]],
    stream: bool,
    late: bool,
) -> None:
    async with serving_with(monkeypatch, EndsMore(fail, late=late), Witness()) as (served, ollama):
        ollama.next(Behaviour(text="sane"))
        status, body = await ask(served, stream=stream)

    assert status == 200
    assert "sane" in str(body)
    assert len(ollama.ledger.inference) == (0 if late else 1)
    assert logged(caplog) == [("hook_failed", "mine")]


async def test_c53_ollama_is_not_asked_twice_by_a_plugin_that_fails_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def takes(self: object, context: object, call: object, forward: Any) -> None:
        async for _ in forward():
            raise ZeroDivisionError

    plugin = type("Takes", (), {"answer": hookimpl(takes)})()
    async with serving_with(monkeypatch, plugin, Witness()) as (served, ollama):
        status, body = await ask(served)

    assert (status, body["error"]["code"]) == (500, "internal_error")
    assert len(ollama.ledger.inference) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fails", ["at once", "with None", "in its records"])
async def test_c53_a_road_that_nobody_set_out_on_is_there_for_the_next(
    monkeypatch: pytest.MonkeyPatch, fails: str, stream: bool
) -> None:
    asked = []

    async def broken_records() -> AsyncIterator[Sequence[Record]]:
        raise ZeroDivisionError
        yield []

    async def asks(self: object, context: object, call: object, forward: Any) -> Any:
        asked.append(forward())
        if fails == "at once":
            raise ZeroDivisionError
        return None if fails == "with None" else broken_records()

    plugin, witness = type("Asks", (), {"answer": hookimpl(asks)})(), Witness()
    async with serving_with(monkeypatch, plugin, witness) as (served, ollama):
        ollama.next(Behaviour(text="sane"))
        status, body = await ask(served, stream=stream)

    assert status == 200
    assert "sane" in str(body)
    assert witness.released == len(ollama.ledger.inference) == 1
    with pytest.raises(RuntimeError, match="called again"):
        await anext(asked[0])


async def test_each_plugin_is_blamed_for_its_own(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Two that misbehave in one hook: both are named, the request goes on."""
    first, second = broken("finished", Misbehaviour("raises")), broken("finished", Misbehaviour("waits for ever"))
    witness = Witness()
    monkeypatch.setattr("tornado_gateway.app.build_plugins", lambda _: [("one", first), ("two", second), ("witness", witness)])
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[AUTH]) as served:
        status, _ = await ask(served)

    assert status == 200
    assert set(logged(caplog)) == {("hook_failed", "one"), ("hook_failed", "two")}
    assert len(witness.outcomes) == 1
