"""The command line: a module for each command, imported only when its command is typed, since starting up is counted in milliseconds.

Exit codes: 0 fine, 1 failed while running, 2 wrong usage or configuration. Errors are lines on standard error, never a traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from tornado_gateway import __version__
from tornado_gateway.cli.screen import complain

PROGRAM = "tornado-gateway"
COMMANDS = ("serve", "demo", "check", "plugins", "new-plugin", "config", "keygen")
"""In the order of the help screen; each is `command` in the module of its name, hyphens as underscores."""

FAILED = 1
WRONG = 2


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *(name for name in self._of_plugins() if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return self._of_plugins().get(cmd_name)
        command = import_module(f"{__name__}.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)  # noqa: S101  # a module of ours without its command
        return command

    def _of_plugins(self) -> dict[str, click.Command]:
        """Asked for once, and only when a name is not one of ours or all are listed: plugins are built for it."""
        if self._extra is None:
            from tornado_gateway.cli.extra import plugin_commands

            self._extra = plugin_commands()
        return self._extra

    _extra: dict[str, click.Command] | None = None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def program() -> None:
    """A gateway that makes Ollama speak OpenAI, for many people at once."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit with its code."""
    code = run(arguments)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:  # has been told, or is nobody's concern; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program; its exit code."""
    try:
        code = program.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as asked:
        asked.show()
        return WRONG
    except click.UsageError as error:
        complain(f"{error.format_message().rstrip('.')} (--help tells more)")
        return WRONG
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return FAILED
    except Exception as error:  # noqa: BLE001  # whoever typed a command gets a line, never a traceback
        return _failure(error)
    return code if isinstance(code, int) else 0


def _failure(error: Exception) -> int:
    from tornado_gateway.config import ConfigError
    from tornado_gateway.hookspecs import StartupRefused

    if isinstance(error, ConfigError):
        for problem in error.problems:
            complain(str(problem), prefix=False)
        return WRONG
    if isinstance(error, StartupRefused):
        complain(str(error))
        return WRONG
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return FAILED  # the reader of a pipe has seen enough
    if isinstance(error, OSError):
        complain(error.strerror or str(error))
        return FAILED
    complain(f"this should not have happened: {type(error).__name__}: {error}")
    return FAILED
