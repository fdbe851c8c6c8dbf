"""A gateway that makes Ollama speak OpenAI, for many people at once."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tornado_gateway.app import Gateway
    from tornado_gateway.loading import load_settings

__version__ = "0.1.0"
__all__ = ["Gateway", "load_settings"]

_HOMES = {"Gateway": "tornado_gateway.app", "load_settings": "tornado_gateway.loading"}


def __getattr__(name: str) -> Any:
    """What is public is imported when it is asked for: a plugin that imports the contract does not pay for a server."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
