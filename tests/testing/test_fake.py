"""The simulated Ollama as an object: start and stop, models, scripts, places."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import trustme
from rawpeer import Peer, call, chat

from tornado_gateway.testing import Behaviour, FakeModel, FakeOllama, fail, hang, say


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


async def said(ollama: FakeOllama, **request: object) -> str:
    answer = await call(ollama.port, "POST", "/api/chat", chat(**request))  # type: ignore[arg-type]  # options of a chat
    return answer.text()


async def test_it_starts_again_on_the_same_port(ollama: FakeOllama) -> None:
    port = ollama.port

    await ollama.stop()
    with pytest.raises(OSError, match="Connect call failed"):
        await call(port, "GET", "/")
    await ollama.start()

    assert (await call(port, "GET", "/")).body == b"Ollama is running"


@pytest.mark.parametrize("reset", [False, True])
async def test_stopping_ends_every_connection(ollama: FakeOllama, reset: bool) -> None:
    ollama.next(hang(after_records=1))

    async with Peer(ollama.port) as peer:
        peer.ask("POST", "/api/chat", chat())
        await ollama.ledger.wait_for(lambda ledger: ledger.requests and ledger.last.records_sent)
        await ollama.stop(reset=reset)

        if reset:
            with pytest.raises(ConnectionResetError):
                await peer.rest()
        else:
            assert b'"done":false' in await peer.rest()
    assert ollama.ledger.connections[0].closed_by == "server"


async def test_scripted_behaviours_are_used_in_order_and_once(ollama: FakeOllama) -> None:
    ollama.next(say("First."), say("Second."))

    assert [await said(ollama), await said(ollama)] == ["First.", "Second."]
    assert await said(ollama, text="What is the capital of Italy?") == "The capital of Italy is Rome."


async def test_a_rule_matches_by_path_model_and_text(ollama: FakeOllama) -> None:
    ollama.script(say("Coder."), model="qwen2.5-coder", times=None)
    ollama.script(say("Ships."), text="ships", times=2)
    ollama.script(fail(500, "broken"), path="/api/tags")

    assert await said(ollama, text="about ships") == "Ships."
    assert await said(ollama, model="qwen2.5-coder") == "Coder."
    assert (await call(ollama.port, "GET", "/api/tags")).status == 500
    assert (await call(ollama.port, "GET", "/api/tags")).status == 200


async def test_rules_can_be_taken_back(ollama: FakeOllama) -> None:
    rule = ollama.script(say("Always."), times=None)
    ollama.unscript(rule)
    ollama.next(say("Next."))
    ollama.unscript()

    assert await said(ollama, text="2+2?") == "2 + 2 is 4."


async def test_a_script_is_laid_over_the_defaults(ollama: FakeOllama) -> None:
    ollama.defaults = Behaviour(text="By default.", prompt_tokens=7)
    ollama.next(say("By script."))

    for text in ("By script.", "By default."):
        answer = await call(ollama.port, "POST", "/api/chat", chat())
        assert answer.text() == text
        assert answer.records()[-1]["prompt_eval_count"] == 7


async def test_defaults_do_not_touch_the_lists(ollama: FakeOllama) -> None:
    ollama.defaults = fail()

    assert (await call(ollama.port, "GET", "/api/tags")).status == 200


async def test_a_list_may_be_scripted_verbatim(ollama: FakeOllama) -> None:
    ollama.script(say('{"models":null}'), path="/api/tags")

    assert (await call(ollama.port, "GET", "/api/tags")).json() == {"models": None}


async def test_models_come_go_and_are_pulled_again(ollama: FakeOllama) -> None:
    ollama.add_model(FakeModel("new"))
    ollama.add_model(replace(ollama.models[0], digest="f" * 64))
    ollama.remove_model("qwen3")

    listed = (await call(ollama.port, "GET", "/api/tags")).json()["models"]
    assert {"new:latest", "llama3.2:latest"} <= {model["name"] for model in listed}
    assert "qwen3:latest" not in {model["name"] for model in listed}
    assert next(model["digest"] for model in listed if model["name"] == "llama3.2:latest") == "f" * 64
    with pytest.raises(KeyError):
        ollama.remove_model("qwen3")


async def test_it_serves_https() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async with FakeOllama(tls=context) as ollama:
        import asyncio

        reader, writer = await asyncio.open_connection("127.0.0.1", ollama.port, ssl=trusting)
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        data = await reader.read()
        writer.close()
        await writer.wait_closed()

        assert ollama.url.startswith("https://")
    assert data.endswith(b"Ollama is running")


async def test_unasked_bytes_reach_an_idle_connection(ollama: FakeOllama) -> None:
    async with Peer(ollama.port) as peer:
        await peer.call("GET", "/")
        ollama.send_unasked(b"surprise")

        assert await peer.reader.readexactly(8) == b"surprise"


async def test_two_of_them_share_nothing(ollama: FakeOllama) -> None:
    async with FakeOllama() as other:
        other.next(say("Other."))

        assert await said(ollama, text="2+2?") == "2 + 2 is 4."
        assert other.ledger.requests_seen == 0
