"""A gateway lives in anybody's Tornado process, beside other gateways."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from processes import until
from serving import AUTH, KEY, chat_request, serving
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from tornado_gateway import Gateway, app
from tornado_gateway.config import Settings
from tornado_gateway.hookspecs import StartupRefused, hookimpl
from tornado_gateway.testing import Behaviour, FakeOllama, say

BODY = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}


def settings(url: str, **more: Any) -> Settings:
    return Settings.model_validate({"upstream": {"url": url}, "plugins": [AUTH], **more})


@asynccontextmanager
async def listening(application: Application) -> AsyncIterator[int]:
    sockets = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
    server = HTTPServer(application)
    server.add_sockets(sockets)
    yield sockets[0].getsockname()[1]
    server.stop()
    await server.close_all_connections()


async def test_at_the_end_a_plugin_that_is_not_done_is_named_and_waited_for_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Hangs:
        @hookimpl
        async def finished(self) -> None:
            finishing.set()
            await asyncio.Event().wait()

    finishing = asyncio.Event()
    monkeypatch.setattr("tornado_gateway.app.build_plugins", lambda settings: [("hangs", Hangs())])
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[]) as served:
        asking = asyncio.ensure_future(served.raw(chat_request(json.dumps(BODY).encode())))
        await asyncio.wait_for(finishing.wait(), 10)
        began = time.monotonic()
    took = time.monotonic() - began
    await asyncio.wait([asking])

    assert [record.__dict__["facts"] for record in caplog.records if record.msg == "hook_unfinished"] == [
        {"plugin": "hangs", "hook": "finished", "times": 1}
    ]
    assert took < 2 * app._ENDING_SECONDS


async def test_every_drain_leaves_time_for_last_words() -> None:
    """An embedder may close its doors for a while, and open them again."""
    ends = []
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        for _ in range(2):
            ollama.next(Behaviour(text="a b c", first_byte_seconds=60))
            asking = asyncio.ensure_future(ask(served.port, "/v1/chat/completions"))
            await until(lambda: served.gateway.services.at_work, 10)
            await served.gateway.drain(0)
            ends.append(await asking)
            assert served.gateway._last_words_until is None
        served.gateway._last_words_until = 1.0  # somebody had not ended in time, and has ended since
        await served.gateway.drain(0)
        assert served.gateway._last_words_until is None

    assert [b"shutting_down" in end for end in ends] == [True, True]


async def ask(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(chat_request(json.dumps(BODY).encode(), path=path, more="Connection: close\r\n"))
    answer = await reader.read()
    writer.close()
    return answer


class Own(RequestHandler):
    def get(self) -> None:
        self.write("mine")

    post = get


async def test_the_routes_can_be_mounted_in_another_application() -> None:
    async with FakeOllama() as ollama, Gateway(settings(ollama.url)) as gateway:
        ollama.next(say("from below"))
        application = Application([("/own", Own), *gateway.routes("/llm")])

        async with listening(application) as port:
            assert b"from below" in await ask(port, "/llm/v1/chat/completions")
            assert b"mine" in await ask(port, "/own")
            assert b" 404 " in await ask(port, "/v1/chat/completions")


async def test_an_application_is_the_gateway_alone() -> None:
    async with FakeOllama() as ollama, Gateway(settings(ollama.url)) as gateway, listening(gateway.application()) as port:
        assert b"not_found" in await ask(port, "/own")
        assert b"chat.completion" in await ask(port, "/api/chat/completions")


async def test_two_gateways_in_one_process_share_nothing() -> None:
    plugins = [AUTH, {"rate_limit": {"requests_per_minute": 1}}, "cache"]
    async with FakeOllama() as one, FakeOllama() as two:
        one.next(say("from one"))
        two.next(say("from two"))
        async with serving(one.url, plugins=plugins) as first, serving(two.url, plugins=plugins) as second:
            answers = [await ask(served.port, "/v1/chat/completions") for served in (first, second, first, second)]

    assert b"from one" in answers[0]
    assert b"from two" in answers[1]
    assert [b" 429 " in answer for answer in answers] == [False, False, True, True]


async def test_a_gateway_that_is_not_started_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        Gateway(Settings()).application()


async def test_r29_without_authentication_only_this_machine_is_served() -> None:
    with pytest.raises(StartupRefused, match="allow_anonymous"):
        async with Gateway(Settings.model_validate({"server": {"host": "0.0.0.0"}, "plugins": []})):
            pass

    async with Gateway(Settings.model_validate({"server": {"host": "0.0.0.0", "allow_anonymous": True}, "plugins": []})):
        pass


async def test_a_reload_does_not_open_the_door_either() -> None:
    given = {"server": {"host": "0.0.0.0", "allow_anonymous": True}, "plugins": []}
    async with Gateway(Settings.model_validate(given)) as gateway:
        with pytest.raises(StartupRefused, match="allow_anonymous"):
            await gateway.reconfigure(Settings.model_validate({"server": {"host": "0.0.0.0"}, "plugins": ["auth"]}))

        assert gateway.settings.server.allow_anonymous


async def test_new_settings_count_for_the_next_request() -> None:
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        before = await ask(served.port, "/v1/chat/completions")
        changed = Settings.model_validate(
            {
                "upstream": {"url": ollama.url},
                "plugins": [{"auth": {"keys": [{"name": "other", "key": KEY + "!"}]}}],
                "server": {"port": 1},
            }
        )
        needs_restart = await served.gateway.reconfigure(changed)
        after = await ask(served.port, "/v1/chat/completions")

    assert b" 200 " in before
    assert b" 401 " in after
    assert needs_restart == ["server.port"]


async def test_r29_a_reload_changes_neither_who_can_reach_it_nor_which_names_are_its_own() -> None:
    wanted = []
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        for host in ("0.0.0.0", "0.0.0.0", "127.0.0.1"):
            changed = settings(ollama.url, server={"host": host})
            wanted.append(await served.gateway.reconfigure(changed))
            answer = await served.raw(b"GET /healthz HTTP/1.1\r\nHost: gateway.lan\r\nConnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 403 ")

    assert wanted == [["server.host"], ["server.host"], []]


async def test_plugins_that_are_listed_again_need_no_restart() -> None:
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[AUTH, "cache"]) as served:
        fewer = await served.gateway.reconfigure(settings(ollama.url, plugins=[AUTH]))
        again = await served.gateway.reconfigure(settings(ollama.url, plugins=[AUTH, "cache"]))

    assert (fewer, again) == (["plugins"], [])
