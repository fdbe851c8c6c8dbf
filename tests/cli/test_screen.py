import io

import pytest

from tornado_gateway.cli.screen import announce, colours, complain, say, warn


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called within a test: pytest puts its own standard output in place when the test begins."""
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return screen


def test_a_terminal_has_colours_unless_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)

    assert colours()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours()


def test_a_dumb_terminal_and_a_pipe_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)

    assert not colours(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not colours()


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say("text", bold=True, fg="green")

    assert capsys.readouterr().out == "text\n"


def test_complaints_are_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    complain("two\nlines")
    warn("careful")

    assert capsys.readouterr() == ("", "tornado-gateway: two lines\nwarning: careful\n")


def test_what_is_announced_goes_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)

    announce("key")

    assert screen.getvalue() == "key\n"


def test_what_is_announced_never_goes_into_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    announce("key")

    assert capsys.readouterr() == ("", "key\n")
