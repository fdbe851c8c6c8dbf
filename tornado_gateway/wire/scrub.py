"""Texts of a server made fit for strangers: no paths, addresses, keys or digests, one line, of bounded length.

Rather too much is taken out than too little: what is lost stands in Ollama's own log. Used for what Ollama says about its
failures; never for a model's answer.
"""

from __future__ import annotations

import re

MAX_CHARS = 240
GAP = "…"

_READ_AT_MOST = 4096
"""Longer texts are cut before they are searched, so that a hostile one costs little."""

_PRIVATE = re.compile(
    "|".join(
        (
            r"\b[a-z][a-z0-9+.-]{1,15}://[^\s\"'<>]+",  # URLs
            r"\b(?:bearer|basic)\s+\S+",  # credentials of a header
            r"\b[\w.-]+@[\w-]+(?:\.[\w-]+)+",  # somebody's address
            r"\b[a-z]:\\[^\s\"']*|\\\\[\w.$-]+\\[^\s\"']*",  # Windows paths
            r"(?<![\w#])~?\.{0,2}/[\w.@+~-][^\s\"'`,;)]*",  # Unix paths
            r"\b[\w.-]+\.[a-z]{2,}(?::\d+)?(?:/[^\s\"'`,;)]*)?",  # hosts and files, with what follows
            r"\blocalhost\b(?::\d+)?",
            r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?:/\d+)?\b",  # IPv4
            r"\[[0-9a-f:.%]*:[0-9a-f:.%\w]*\](?::\d+)?",  # IPv6 with brackets
            r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])",  # IPv6
            r"\b[a-z][\w-]*:\d{2,5}\b",  # host:port
            r"\b0x[0-9a-f]+\b",  # places in memory
            r"\b(?:sk|pk|rk|ghp|gho|ghs|hf|xox[abprs]|key|api|tok|token)[-_][\w-]{6,}",  # keys that say that they are
            r"\bsha\d+[:-]\w+|\b[0-9a-f]{12,}\b",  # digests
            r"\b[\w+/=-]{28,}",  # anything else that long is no word
        )
    ),
    re.IGNORECASE,
)
_NOT_TEXT = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


def scrubbed(text: str, max_chars: int = MAX_CHARS) -> str:
    """The text in one line with a gap for everything private, at most `max_chars` long."""
    return _short(_PRIVATE.sub(GAP, _line(text)), max_chars)


def is_clean(text: str) -> bool:
    """Whether there is nothing private in the text."""
    return len(text) <= _READ_AT_MOST and _PRIVATE.search(_line(text)) is None


def _line(text: str) -> str:
    return _NOT_TEXT.sub(" ", text[:_READ_AT_MOST]).strip()


def _short(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else text[: max_chars - 1].rstrip() + GAP
