"""What a plugin may send as a header: one rule for `Context.add_header` and for the headers of errors."""

from __future__ import annotations

import re
from functools import lru_cache

_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")


def check_header(name: str, value: str) -> None:
    """Raises ValueError when the name or the value cannot stand in a header, TypeError when one is not even text."""
    try:
        fit = _is_name(name) and value.isprintable() and value.isascii()
    except (AttributeError, TypeError) as error:
        raise TypeError(f"{name!r} is not a header of text") from error
    if not fit:
        raise ValueError(f"{name!r} is not a header that can be sent")


@lru_cache(maxsize=128)  # plugins name the same few headers for every request
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None
