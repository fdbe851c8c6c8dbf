"""What a person sees: colours on a terminal, plain lines in a pipe, complaints on standard error."""

from __future__ import annotations

import contextlib
import os
import sys

import click


def colours(stream: object = None) -> bool:
    """Whether to colour what goes to `stream` (standard output): a terminal, unless `NO_COLOR` is set (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal(stream: object = None) -> bool:
    isatty = getattr(sys.stdout if stream is None else stream, "isatty", None)
    return bool(isatty and isatty())


def say(text: str = "", **style: object) -> None:
    """A line on standard output; `style` as `click.style` takes it."""
    click.echo(click.style(text, **style) if style and colours() else text)  # type: ignore[arg-type]  # handed on as it came


def complain(message: str, *, prefix: bool = True) -> None:
    """One line on standard error, whatever the message holds."""
    line = " ".join(message.split())
    if prefix:
        line = f"tornado-gateway: {line}"
    click.echo(click.style(line, fg="red") if colours(sys.stderr) else line, err=True)


def warn(message: str) -> None:
    line = f"warning: {' '.join(message.split())}"
    click.echo(click.style(line, fg="yellow") if colours(sys.stderr) else line, err=True)


def announce(line: str) -> None:
    """A line for the person who started the server: on the terminal, else on standard error, so that no pipe keeps a key.

    A server goes on also when nobody can read it.
    """
    with contextlib.suppress(OSError):
        click.echo(line, err=not is_terminal())
