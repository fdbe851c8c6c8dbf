"""The core's own events: structlog in front, Python's logging behind, so that whoever runs the process decides where they go.

The event is a constant, its values are keys; they travel as the attribute `facts` of the log record. The logging plugin
listens at the logger `tornado_gateway` and writes them beside its line per request.
"""

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog

ROOT = "tornado_gateway"


def _to_logging(_: Any, __: str, event: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    message = event.pop("event")
    exc_info = event.pop("exc_info", None)
    return (message,), {"extra": {"facts": event}, "exc_info": exc_info}


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for one module of the core; `name` is the module's."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name), processors=[_to_logging], wrapper_class=structlog.stdlib.BoundLogger
    )
    return logger
