"""A gateway in a thread: any configuration, for tests with and without a loop."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tornado_gateway.config import ConfigError
from tornado_gateway.testing import GatewayThread, OllamaThread, say

KEYS = {"auth": {"keys": [{"name": "tester", "key": "a key"}]}}


@pytest.fixture
def ollama() -> Iterator[OllamaThread]:
    with OllamaThread() as ollama:
        yield ollama


def test_it_serves_with_the_plugins_that_are_named(ollama: OllamaThread) -> None:
    with GatewayThread(ollama.url, plugins=[KEYS, "cache"]) as gateway:
        assert gateway.get("/v1/models").status == 401
        assert gateway.get("/v1/models", key="a key").status == 200
        assert type(gateway.plugin("cache")).__name__ == "Cache"


def test_without_plugins_everybody_is_served(ollama: OllamaThread) -> None:
    ollama.next(say("Hello!"))

    with GatewayThread(ollama.url) as gateway:
        assert gateway.chat("Hi").text == "Hello!"


def test_a_file_is_taken_with_what_beats_it(ollama: OllamaThread, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("limits: {max_messages: 1}\nmodels: {aliases: {mine: llama3.2}}\nplugins: []\n")
    two = [{"role": "user", "content": "a"}] * 2

    with GatewayThread(ollama.url, config=file, limits={"max_messages": 2}) as gateway:
        assert gateway.chat("Hi", model="mine").status == 200
        assert gateway.chat("", messages=two).status == 200
        assert gateway.chat("", messages=two + two).status == 400


def test_what_is_announced_is_kept(ollama: OllamaThread) -> None:
    with GatewayThread(ollama.url, plugins=["auth"]) as gateway:
        assert gateway.announced[0].startswith("Key for this run: ")


def test_new_settings_count_as_on_sighup(ollama: OllamaThread) -> None:
    with GatewayThread(ollama.url, plugins=[KEYS]) as gateway:
        gateway.reconfigure(plugins=[{"auth": {"keys": [{"name": "tester", "key": "another"}]}}])

        assert gateway.get("/v1/models", key="a key").status == 401
        assert gateway.get("/v1/models", key="another").status == 200


def test_wrong_settings_are_told_as_the_command_tells_them(ollama: OllamaThread) -> None:
    with pytest.raises(ConfigError, match="nope"), GatewayThread(ollama.url, plugins=["nope"]):
        pass


def test_functions_and_coroutines_run_in_its_loop(ollama: OllamaThread) -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    with GatewayThread(ollama.url, plugins=[KEYS]) as gateway:
        assert gateway.call(asyncio.get_running_loop) is gateway.run(loop())
        gateway.get("/v1/models")
        assert gateway.hook_times()["auth.authenticate"]["calls"] == 1
