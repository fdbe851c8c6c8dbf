"""The configuration as it counts, as plain values without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tornado_gateway.loading import Loaded

MASK = "**********"
_SECRET_NAME = re.compile(r"(^|_)(key|secret|password|passphrase|token|dsn)$", re.IGNORECASE)


def effective(loaded: Loaded) -> dict[str, Any]:
    """Every section with every key. What pydantic marks as secret is masked, and in plugins also what is named like a secret."""
    values = loaded.settings.model_dump(mode="json", exclude={"plugins"})
    plugins = [{name: _masked(own.model_dump(mode="json"))} for name, own in loaded.plugins.items()]
    shown: dict[str, Any] = _tidy({**values, "plugins": plugins})
    return shown


def _masked(value: Any) -> Any:
    """A plugin's author may have forgotten that a key is one."""
    match value:
        case Mapping():
            return {
                name: MASK if isinstance(inner, str) and _SECRET_NAME.search(name) else _masked(inner)
                for name, inner in value.items()
            }
        case list():
            return [_masked(inner) for inner in value]
        case _:
            return value


def _tidy(value: Any) -> Any:
    """As people write it: whole numbers without a fraction, texts so that nothing in them is filled in when they are read again."""
    match value:
        case str():
            return value.replace("${", "$${")
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {name: _tidy(inner) for name, inner in value.items()}
        case list():
            return [_tidy(inner) for inner in value]
        case _:
            return value
