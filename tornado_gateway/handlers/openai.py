"""OpenAI's addresses that generate: a dialect, and the straight line behind it."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Any

from tornado_gateway.handlers.base import Access, GatewayHandler
from tornado_gateway.handlers.services import Services
from tornado_gateway.wire.dialect import Dialect


class GenerationHandler(GatewayHandler):
    """Answers `POST` in one dialect."""

    access = Access(frozenset({"POST"}), authenticated=True)

    def initialize(self, services: Services, dialect: Dialect) -> None:  # type: ignore[override]  # Tornado hands over what the route names
        super().initialize(services)
        self._dialect = dialect

    def work(self, body: bytes) -> Coroutine[Any, Any, None]:
        return self._services.exchange.serve(self.context, self._dialect, body, self.reply, self.tally)

    def reply_headers(self) -> dict[str, str]:
        headers = super().reply_headers()
        if not self.context.stream:
            headers["Server-Timing"] = self._server_timing()
        return headers

    def _server_timing(self) -> str:
        """Milliseconds in line, at Ollama's, in all."""
        now, tally = time.monotonic(), self.tally
        queue = (tally.queue_seconds or 0.0) * 1000
        upstream = 0.0 if tally.upstream_began is None else (now - tally.upstream_began) * 1000
        total = (now - self.context.clock) * 1000
        return f"queue;dur={queue:.1f}, upstream;dur={upstream:.1f}, total;dur={total:.1f}"
