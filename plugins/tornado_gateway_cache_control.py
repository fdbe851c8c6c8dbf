"""What a request's `Cache-Control` asks of the cache (RFC 9111, 5.2.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIRECTIVE = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?\s*(?:,|$)')
_MOST_SECONDS = 2**31
"""A larger number counts as this one (RFC 9111, 1.2.2)."""


@dataclass(frozen=True, slots=True)
class Wishes:
    no_cache: bool = False
    """A fresh answer, which may be kept."""
    no_store: bool = False
    """Neither kept nor looked up."""
    only_if_cached: bool = False
    """From the cache or not at all."""
    max_age: int | None = None
    """No entry older than so many seconds."""


NONE = Wishes()


def read_wishes(header: str | None) -> Wishes:
    """The directives that matter here; others, and what is not a directive, are passed over as the RFC asks.

    A `max-age` that is not a number counts as 0: a caller who limits the age wants no old answer.
    """
    if not header:
        return NONE
    found: dict[str, str] = {}
    position = 0
    while position < len(header):
        match = _DIRECTIVE.match(header, position)
        if match is None:
            comma = header.find(",", position)
            position = len(header) if comma < 0 else comma + 1
            continue
        found.setdefault(match[1].lower(), match[2] or match[3] or "")
        position = match.end()
    return Wishes("no-cache" in found, "no-store" in found, "only-if-cached" in found, _seconds(found.get("max-age")))


def _seconds(value: str | None) -> int | None:
    if value is None:
        return None
    return min(int(value), _MOST_SECONDS) if value.isascii() and value.isdigit() and len(value) < 20 else 0
