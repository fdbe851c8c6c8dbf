"""`${NAME}` and `${NAME:-default}` in texts of the configuration: pure, the environment comes in as an argument.

`$${` stands for a plain `${`. What was filled in is not looked at again, so a value can neither change the structure nor name another variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tornado_gateway.config.values import FilledIn

_REFERENCE = re.compile(r"\$?\$\{([^}]*)\}?")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


def fill_in(text: str, environ: Mapping[str, str]) -> str | None:
    """The text with its references filled in; None when one is unset and has no default: the text counts as not given.

    An empty variable counts as unset, as in a shell. Raises ValueError for a reference that cannot be read.
    """
    parts: list[str] = []
    end = 0
    references = 0
    for match in _REFERENCE.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        if match[0].startswith("$$"):
            parts.append(match[0][1:])
            continue
        references += 1
        value = _value(match, environ)
        if value is None:
            return None
        parts.append(value)
    if not references:
        return "".join(parts) + text[end:] if parts else text
    only = references == 1 and not any((parts[0], text[end:])) and len(parts) == 2
    return FilledIn.of("".join(parts) + text[end:], whole=only)


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str | None:
    inside = _INSIDE.fullmatch(match[1])
    if not match[0].endswith("}") or inside is None:
        raise ValueError("a reference to the environment is `${NAME}` or `${NAME:-default}`; write `$${` for a plain `${`")
    name, default = inside[1], inside[2]
    if default is not None and "${" in default:
        raise ValueError(f"the default of ${{{name}}} cannot hold another reference")
    return environ.get(name) or default
