"""One line per request, and the gateway's events beside it: JSON in files, words on a terminal.

What was asked and answered, keys and headers are never written, unless `log_content` says so, which is told at every start.
Writing never makes the event loop wait: a thread does it.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tornado_gateway.hookspecs import Context, NativeCall, Outcome, ServerFacts, StartupRefused, Transform, hookimpl
from tornado_gateway_logging_content import Content
from tornado_gateway_logging_events import EventHandler
from tornado_gateway_logging_keeper import CLOSE_SECONDS, LogKeeper, to_parent
from tornado_gateway_logging_lines import Item
from tornado_gateway_logging_outlets import Outlets
from tornado_gateway_logging_redaction import short

_log = logging.getLogger("tornado_gateway.plugins.logging")


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _off(value: Any) -> Any:
    return "off" if value is False else value  # YAML's own reading of `off`


class Logging:
    """Writes a line for every request when it has ended, however it ended."""

    class Settings(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

        directory: Path | None = Field(
            default=Path("logs"), strict=False, description="Where info.log and error.log are; null: no files."
        )
        level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
            default="info", description="The least level that is written; a request that went well is info."
        )
        console: Annotated[Literal["auto", "human", "json", "off"], BeforeValidator(_off)] = Field(
            default="auto",
            description="auto: words on standard error, in colour on a terminal; human: without colour; json: JSON on standard output.",
        )
        max_bytes: int = Field(default=10 * 1024 * 1024, ge=0, description="A file is rotated before it gets longer; 0: never.")
        backups: int = Field(default=5, ge=0, le=100, description="How many rotated files are kept of each.")
        log_content: bool = Field(default=False, description="Write prompts and answers of everybody, too.")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._level = _level(settings)
        self._outlets = Outlets()
        self._handler: EventHandler | None = None
        self._server: ServerFacts | None = None

    @hookimpl
    def keeper(self) -> LogKeeper:
        return LogKeeper(self._settings, _level, _open)

    @hookimpl
    async def startup(self, server: ServerFacts) -> None:
        self._server = server
        self._outlets = to_parent(server.shared) if server.shared else await _open(self._settings)
        self._handler = EventHandler(self._outlets.put, self._level, self._outlets.directory)
        self._handler.attach()
        self._announce_content(self._settings)

    @hookimpl
    async def reconfigure(self, settings: Settings) -> None:
        """Open the files anew, by the new settings; what was handed over before still goes to the old ones."""
        before = self._outlets
        outlets = before if self._server and self._server.shared else await _open(settings)
        self._settings, self._outlets = settings, outlets
        self._level = _level(settings)
        if self._handler:
            self._handler.redirect(outlets.put, self._level, outlets.directory)
        if before is not outlets:
            await before.close(CLOSE_SECONDS)
        self._announce_content(settings)

    @hookimpl
    async def shutdown(self) -> None:
        if self._handler:
            self._handler.detach()
            self._handler = None
        await self._outlets.close(CLOSE_SECONDS)

    @hookimpl
    async def transform(self, context: Context, call: NativeCall) -> Transform | None:
        """Hear what is asked and answered, for callers whose words may be written; changes nothing."""
        if not (self._settings.log_content or (context.principal and context.principal.log_content)):
            return None
        content: Content = context.state.setdefault(self, Content())
        return content.listen(call)

    @hookimpl
    async def finished(self, context: Context, outcome: Outcome) -> None:
        failed = outcome.status >= 500 or outcome.ended in ("upstream_failed", "failed")
        level = logging.ERROR if failed else logging.INFO
        if level < self._level:
            return
        usage, model = outcome.usage, context.resolved_model or context.model
        values = (
            "request",
            context.arrived + outcome.duration_ms / 1000,
            level,
            context.id,
            context.principal.name if context.principal else None,
            context.client,
            short(context.method),
            short(context.path.partition("?")[0]),
            outcome.status,
            short(model),
            context.upstream,
            context.stream,
            context.cache,
            outcome.queue_ms,
            outcome.first_byte_ms,
            outcome.duration_ms,
            usage.prompt_tokens if usage else None,
            usage.completion_tokens if usage else None,
            usage.load_duration / 1e6 if usage else None,
            outcome.ended,
            outcome.error,
        )
        self._outlets.put(Item(level, values, self._more(context, model)))

    def _more(self, context: Context, model: str | None) -> dict[str, Any] | None:
        """What only some lines say: whom the caller acts for, an alias, the words themselves where they may be written."""
        more: dict[str, Any] = {}
        if context.user:
            more["user"] = short(context.user)
        if context.model != model:
            more["requested_model"] = short(context.model)
        if content := context.state.pop(self, None):
            more["content"] = content
        return more or None

    def _announce_content(self, settings: Settings) -> None:
        if settings.log_content and self._server:
            self._server.announce("log_content is on: prompts and answers are written to the log.")
            facts = {"names": ["everybody"]}
            _log.warning("log_content_on", extra={"facts": facts})


def _level(settings: Logging.Settings) -> int:
    return logging.getLevelNamesMapping()[settings.level.upper()]


async def _open(settings: Logging.Settings) -> Outlets:
    try:
        return await asyncio.to_thread(Outlets.open, settings.directory, settings.console, settings.max_bytes, settings.backups)
    except OSError as error:
        raise StartupRefused(
            f"logging: cannot write to {settings.directory} ({error.strerror}): "
            "set `directory` to a folder that can be written, or to null for no files"
        ) from error
