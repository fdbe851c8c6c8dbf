"""The simulated Ollama as a program: `python -m tornado_gateway.testing --help`."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import click

from tornado_gateway.testing.behaviour import Behaviour
from tornado_gateway.testing.fake import FakeOllama


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=11434, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option("--text", help="What every model always says.")
@click.option("--tokens", type=click.IntRange(0), help="Answers of so many short words instead of small talk.")
@click.option("--tokens-per-second", type=click.FloatRange(0, min_open=True), help="Pace of a streamed answer.")
@click.option("--burst", is_flag=True, help="Write each answer at once.")
@click.option("--first-byte-seconds", type=click.FloatRange(0), help="Silence before the first byte.")
@click.option("--load-seconds", type=click.FloatRange(0), help="How long a model takes to load.")
@click.option("--num-parallel", type=click.IntRange(1), help="Slots of each model; no bound unless given.")
@click.option("--max-queue", type=click.IntRange(0), default=512, show_default=True, help="Requests that may wait for a load.")
@click.option("--cloud/--no-cloud", default=False, help="Whether models of ollama.com are served.")
@click.option("--max-entries", type=click.IntRange(1), default=10_000, show_default=True, help="Bound of the ledger.")
def main(
    host: str, port: int, text: str | None, tokens: int | None, tokens_per_second: float | None, burst: bool,
    first_byte_seconds: float | None, load_seconds: float | None, num_parallel: int | None, max_queue: int, cloud: bool,
    max_entries: int,
) -> None:  # fmt: skip
    """A simulated Ollama: it answers in Ollama's shapes without any model, and misbehaves as it is told over /control/."""
    behaviour = Behaviour(
        text=text, tokens=tokens, tokens_per_second=tokens_per_second, burst=burst or None,
        first_byte_seconds=first_byte_seconds, load_seconds=load_seconds,
    )  # fmt: skip
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        ollama = FakeOllama(
            host=host, port=port, defaults=behaviour, num_parallel=num_parallel, max_queue=max_queue, cloud=cloud,
            max_entries=max_entries, control=True,
        )  # fmt: skip
        try:
            runner.run(_serve(ollama))
        except OSError as error:
            raise click.ClickException(f"Cannot listen at {host}:{port}: {error.strerror or error}.") from error


async def _serve(ollama: FakeOllama) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    async with ollama:
        click.echo(f"Simulated Ollama at {ollama.url}")
        await stopped.wait()


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: it leaves more of the machine to what is being measured."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    main(prog_name="python -m tornado_gateway.testing")
