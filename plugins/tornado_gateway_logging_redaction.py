"""What may stand in a log: the second line of defence, behind never handing secrets over.

Text is searched for what looks like a key, and cut. Values that are not plain data are named by their type: their `repr` may hold
anything. Of an exception the log has the class and the places in the code, not the message, which may quote a prompt or a key;
of an `OSError` also the system's own words.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

MOST_CHARACTERS = 500
MOST_ITEMS = 20
MOST_FRAMES = 12
REDACTED = "[redacted]"

_SECRET = re.compile(
    r"""
      (?<![a-z0-9]) (?: tg_ | sk- | hf_ | gh[pousr]_ | xox[a-z]- ) [\w-]{8,}    # keys that say what they are
    | \b(?: bearer | basic ) [ ]+ \S.*                              # a header's value: a key may hold spaces
    | \beyJ [\w-]{8,} \. [\w-]+ (?: \. [\w-]* )?                    # JSON web tokens
    | (?<= :// ) [^/\s@]+ (?= @ )                                   # user and password in an address
    | (?<= [?&] ) (?: key | api[_-]?key | (?: access_)?token | (?: client_)?secret | pwd | passw(?:or)?d ) = [^&\s]*
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


_HINT = re.compile(r"[-_ @?&yY]")
"""Each of these patterns needs one of these characters. Most of what a line says has none, and then the long search is saved."""


def redacted(text: str) -> str:
    """The text without what looks like a key."""
    return _SECRET.sub(REDACTED, text) if _HINT.search(text) else text


def short(text: str | None) -> str | None:
    """A text that came from a client, cut to what a log may be made to hold."""
    return text if text is None or len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def _first_words(text: str) -> str:
    """As much as can be shown in the end. No word is cut in two: half a password would not look like one."""
    if len(text) <= 4 * MOST_CHARACTERS:
        return text
    text = text[: 4 * MOST_CHARACTERS]
    return text.rpartition(" ")[0] or text


def cleaned(value: Any, depth: int = 0) -> Any:
    """The value as plain data for a log."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return short(redacted(_first_words(value))) or ""
    if isinstance(value, BaseException):
        return named(value)
    if depth < 3 and isinstance(value, Mapping):
        return {str(name)[:64]: cleaned(item, depth + 1) for name, item in list(value.items())[:MOST_ITEMS]}
    if depth < 3 and isinstance(value, list | tuple | set | frozenset):
        return [cleaned(item, depth + 1) for item in list(value)[:MOST_ITEMS]]
    return type(value).__name__


def exception_facts(error: BaseException) -> dict[str, Any]:
    """An exception, its causes, and where in the code it happened, outermost call first."""
    frames = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
    places = [f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno} in {frame.name}" for frame in frames]
    return {"exception_type": " <- ".join(named(cause) for cause in _causes(error)), "exception_at": places}


def named(error: BaseException) -> str:
    """The exception's class, with the system's words where it has them: `OSError (No space left on device)`."""
    name = type(error).__name__
    return f"{name} ({error.strerror})" if isinstance(error, OSError) and isinstance(error.strerror, str) else name


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(4):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
