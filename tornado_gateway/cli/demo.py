"""`demo`: a simulated Ollama and the gateway in front of it, with a key for the run, ready to be pasted against."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from functools import partial

import click

from tornado_gateway.cli.keys import new_key
from tornado_gateway.cli.screen import say
from tornado_gateway.cli.serve import run_server
from tornado_gateway.config import PluginEntry, ServerSettings, Settings, UpstreamSettings
from tornado_gateway.server import Ready, serve
from tornado_gateway.testing import Behaviour, OllamaThread

HOST = "127.0.0.1"
USUAL_PORT = 3000
MODEL = "gpt-3.5-turbo"
TOKENS_PER_SECOND = 40
"""Slow enough to be seen, fast enough to be waited for."""


@click.command("demo")
@click.option(
    "--port", metavar="PORT", type=click.IntRange(0, 65535), help=f"Port of the gateway; else {USUAL_PORT}, or a free one."
)
@click.option(
    "--upstream-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the simulated Ollama; else a free one.",
)
def command(port: int | None, upstream_port: int) -> int:
    """Try it without an Ollama: a simulated one and the gateway, in one terminal. Ctrl-C ends both."""
    key = new_key()
    with simulated_ollama(upstream_port) as url:
        return run_server(_settings(_port(port), url, key), partial(serve, on_ready=lambda ready: _show(ready, key)))


@contextlib.contextmanager
def simulated_ollama(port: int) -> Iterator[str]:
    """Its address, while it serves in a thread of its own: Ctrl-C reaches the gateway alone, which may then drain."""
    ollama = OllamaThread(host=HOST, port=port, defaults=Behaviour(tokens_per_second=TOKENS_PER_SECOND))
    try:
        ollama.__enter__()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise click.ClickException(f"the simulated Ollama cannot listen at {HOST}, port {port}: {reason}") from error
    try:
        yield ollama.url
    finally:
        ollama.__exit__()


def _settings(port: int, url: str, key: str) -> Settings:
    """The built-in defaults but for addresses and key, whatever configuration lies around: a demonstration is the same everywhere."""
    plugins = tuple(
        PluginEntry("auth", {"keys": [{"name": "demo", "key": key}]}) if entry.name == "auth" else entry
        for entry in Settings().plugins
    )
    return Settings(server=ServerSettings(host=HOST, port=port), upstream=UpstreamSettings(url=url), plugins=plugins)


def _port(given: int | None) -> int:
    if given is not None:
        return given
    wanted = os.environ.get("PORT", "")
    if wanted.isascii() and wanted.isdigit() and int(wanted) <= 65535:
        return int(wanted)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, USUAL_PORT))
        except OSError:
            return 0
    return USUAL_PORT


def _show(ready: Ready, key: str) -> None:
    address = ready.addresses[0]
    say(f"tornado-gateway listens at {address}, in front of a simulated Ollama at {ready.upstreams[0].url}", bold=True)
    say(f"plugins: {', '.join(ready.plugins)}")
    say(f"\nWith curl, in another terminal:\n\n{curl_line(address, key)}")
    say(f"\nWith Python (`pip install openai`):\n\n{snippet(address, key)}")
    say("\nCtrl-C ends both.")


def curl_line(address: str, key: str) -> str:
    body = f'{{"model": "{MODEL}", "stream": true, "messages": [{{"role": "user", "content": "Say hello."}}]}}'
    return f"curl -N {address}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{body}'"


def snippet(address: str, key: str) -> str:
    """Works in a file and, line by line, in an interactive Python."""
    return f"""\
from openai import OpenAI
client = OpenAI(base_url="{address}/v1", api_key="{key}")
answer = client.chat.completions.create(model="{MODEL}", messages=[{{"role": "user", "content": "Say hello."}}])
print(answer.choices[0].message.content)"""
