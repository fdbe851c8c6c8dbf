"""What is said where nobody listens: one line on standard error for each warning and error of a process without the logging plugin.

Python's own last resort leaves out an event's facts and prints exceptions with their messages, which may quote a prompt or a key.
This one is as careful as the plugin, and silent as soon as anybody listens. It imports little: every command has it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import time
import traceback
from typing import Any

_WORDING_ONLY = ("tornado_gateway", "tornado", "asyncio")
"""What fills in the wording of these quotes requests, or is somebody's `repr`. Others chose their words themselves."""

_MOST_CHARACTERS = 500
_MOST_ITEMS = 20
_MOST_FRAMES = 12
_MOST_CAUSES = 4

_SECRET = re.compile(
    r"""
      (?<![a-z0-9]) (?: tg_ | sk- | hf_ | gh[pousr]_ | xox[a-z]- ) [\w-]{8,}
    | \b(?: bearer | basic ) [ ]+ \S.*
    | \beyJ [\w-]{8,} \. [\w-]+ (?: \. [\w-]* )?
    | (?<= :// ) [^/\s@]+ (?= @ )
    | (?<= [?&] ) (?: key | api[_-]?key | (?: access_)?token | (?: client_)?secret | pwd | passw(?:or)?d ) = [^&\s]*
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
"""As in the logging plugin, which imports nothing but the contract; a test compares the two."""

_PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-#0 +]*[\d.*]*[a-zA-Z]")
_REPR = re.compile(r"[(<\[{'\"].*", re.DOTALL)
_WORD = re.compile(r"[!#-<>-~]+")
"""Needs no quotes: ASCII that can be seen, without quotes and equals signs."""


def speak_carefully() -> None:
    """Take the place of Python's last resort. For the program's own commands: in somebody else's process it is not ours to say."""
    logging.lastResort = LastResort(logging.WARNING)


class LastResort(logging.Handler):
    """Writes to what standard error is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = line_of(record)
        except Exception:  # noqa: BLE001  # a record that cannot be told must not break what it tells of
            line = f"{record.levelname} log_event_failed logger={_shown(record.name)}"
        if sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
                sys.stderr.write(line + "\n")


def line_of(record: logging.LogRecord) -> str:
    """Time of day, level, event and facts in one line of ASCII, whatever they hold."""
    event, facts = _told(record)
    if record.exc_info and record.exc_info[1] is not None:
        facts |= _exception_facts(record.exc_info[1])
    moment = time.strftime("%H:%M:%S", time.localtime(record.created))
    said = [f"{_shown(name)}={_shown(value)}" for name, value in facts.items() if value is not None]
    return " ".join([moment, f"{record.levelname:<7}", _shown(event), *said])


def _told(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    facts = getattr(record, "facts", None)
    if isinstance(facts, dict):
        return str(record.msg), {"logger": record.name, **facts}
    if record.name.partition(".")[0] not in _WORDING_ONLY:
        return record.getMessage(), {"logger": record.name}
    wording = str(record.msg).partition("\n")[0]
    wording = _PLACEHOLDER.sub("…", wording) if record.args else wording
    return _REPR.sub("…", wording) or "event", {"logger": record.name}


def _exception_facts(error: BaseException) -> dict[str, Any]:
    """Its class and its causes', and where in the code it happened, outermost call first."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < _MOST_CAUSES:
        causes.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)][-_MOST_FRAMES:]
    places = [f"{'/'.join(code.co_filename.split('/')[-2:])}:{line} in {code.co_name}" for code, line in frames]
    return {"exception_type": " <- ".join(map(_text, causes)), "exception_at": places}


def _shown(value: Any) -> str:
    text = _text(value)
    return text if _WORD.fullmatch(text) else json.dumps(text)


def _text(value: Any) -> str:
    """Plain data as a text without what looks like a key. Anything else is named by its type: its `repr` may hold anything."""
    if isinstance(value, str):
        return _SECRET.sub("[redacted]", value[: 4 * _MOST_CHARACTERS])[:_MOST_CHARACTERS]
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(_text, list(value)[:_MOST_ITEMS]))
    if isinstance(value, OSError) and isinstance(value.strerror, str):
        return f"{type(value).__name__} ({value.strerror})"
    return type(value).__name__
