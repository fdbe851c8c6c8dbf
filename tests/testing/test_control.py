"""Commands from another process."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from rawpeer import Peer, call, chat

from tornado_gateway.testing import Behaviour, FakeOllama, hang
from tornado_gateway.testing.control import read_behaviour, write_behaviour


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama(control=True) as fake:
        yield fake


async def command(ollama: FakeOllama, method: str, name: str, value: Any = None) -> tuple[int, Any]:
    answer = await call(ollama.port, method, f"/control/{name}", value)
    return answer.status, answer.json()


@pytest.mark.parametrize(
    ("method", "name", "value", "words"),
    [
        ("POST", "next", {"no_such": 1}, "has no no_such"),
        ("POST", "next", [1], "is an object"),
        ("POST", "next", {"status": "five"}, "status"),
        ("POST", "script", {"path": "/"}, "behaviour"),
        ("POST", "script", [], "object"),
        ("POST", "script", {"behaviour": {}, "time": 1}, "has no time"),
        ("POST", "script", {"behaviour": {}, "times": "x"}, "times"),
        ("POST", "wait", {"counter": "weather"}, "is no counter"),
        ("POST", "wait", {}, "counter"),
        ("POST", "dance", None, "There is no"),
        ("POST", "next", b"{", "truncated"),
        ("DELETE", "models?name=nope", None, "KeyError"),
        ("DELETE", "models", None, "name"),
    ],
)
async def test_a_wrong_command_is_refused_with_its_reason(
    ollama: FakeOllama, method: str, name: str, value: Any, words: str
) -> None:
    status, answer = await command(ollama, method, name, value)

    assert status == 400
    assert words in answer["error"]


async def test_waiting_has_a_limit(ollama: FakeOllama) -> None:
    status, _ = await command(ollama, "POST", "wait", {"counter": "requests_seen", "at_least": 1, "timeout": 0.01})

    assert status == 408


async def test_every_command_does_what_it_says(ollama: FakeOllama) -> None:
    for method, name, value in (
        ("PUT", "defaults", {"text": "Default."}),
        ("POST", "next", {"text": "Next."}),
        ("POST", "script", {"behaviour": {"text": "Model."}, "model": "new", "times": None}),
        ("POST", "models", {"name": "new", "digest": "a" * 64}),
    ):
        assert await command(ollama, method, name, value) == (200, {})
    said = [
        (await call(ollama.port, "POST", "/api/chat", chat(model=model))).text() for model in ("llama3.2", "new", "llama3.2")
    ]
    assert said == ["Next.", "Model.", "Default."]

    assert (await command(ollama, "POST", "wait", {"counter": "requests_seen", "at_least": 3}))[1] == {"requests_seen": 3}
    assert (await command(ollama, "GET", "ledger"))[1]["requests_seen"] == 3
    for method, name in (("DELETE", "ledger"), ("DELETE", "script"), ("DELETE", "models?name=new"), ("POST", "unload")):
        assert await command(ollama, method, name) == (200, {})
    assert ollama.ledger.requests_seen == 0


async def test_connections_are_dropped_on_command(ollama: FakeOllama) -> None:
    ollama.next(hang(after_records=1))

    async with Peer(ollama.port) as peer:
        peer.ask("POST", "/api/chat", chat())
        await ollama.ledger.wait_for(lambda ledger: ledger.requests and ledger.last.records_sent)
        async with Peer(ollama.port) as commander:
            commander.ask("POST", "/control/drop", {"reset": True})

            with pytest.raises(ConnectionResetError):
                await peer.rest()


def test_a_behaviour_is_the_same_after_the_journey() -> None:
    behaviour = Behaviour(text="x", raw=b"\xff", pieces=("a", "b"), headers={"A": "b"}, burst=False, stop_after_bytes=0)

    assert read_behaviour(write_behaviour(behaviour)).over(Behaviour()) == Behaviour(
        text="x", raw=b"\xff", pieces=["a", "b"], headers={"A": "b"}, burst=False, stop_after_bytes=0
    )
