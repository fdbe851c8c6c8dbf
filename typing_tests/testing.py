"""Tests of a plugin, and a program with a gateway in it, as type checkers see them. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_type

from tornado.web import Application

from tornado_gateway import Gateway, load_settings
from tornado_gateway.testing import (
    Behaviour,
    FakeModel,
    FakeOllama,
    GatewayThread,
    OllamaThread,
    Reply,
    cut,
    error_line,
    fail,
    hang,
    say,
)


def test_with_the_fixtures(gateway: Callable[..., GatewayThread], fake_ollama: OllamaThread) -> None:
    fake_ollama.next(say("Hello."), fail(503, "busy"), cut(after_records=1), error_line(1), hang())
    served = gateway(plugins=["cache", {"auth": {"keys": []}}], limits={"max_tools": 1})

    reply = served.chat("Hi", stream=True, temperature=0)

    assert_type(reply, Reply)
    assert_type(reply.text, str)
    assert_type(reply.headers["x-cache"], str)
    assert_type(served.base_url, str)
    served.reconfigure(plugins=[])


def test_without_pytest() -> None:
    with OllamaThread(defaults=Behaviour(tokens=5)) as ollama, GatewayThread(ollama.url) as served:
        assert_type(served.get("/v1/models", key="a key").status, int)


async def test_with_a_loop() -> None:
    async with FakeOllama(models=[FakeModel("mine", ("completion",))], num_parallel=1) as ollama:
        assert_type(ollama.url, str)


async def serve() -> None:
    async with Gateway(load_settings("config.yaml")) as gateway:
        assert_type(gateway.application(), Application)
        gateway.routes("/ai")
