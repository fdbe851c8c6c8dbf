"""OpenAI's addresses that generate: a dialect, and the straight line behind it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from tornado_gateway.handlers.base import Access, GatewayHandler
from tornado_gateway.handlers.services import Services
from tornado_gateway.wire.dialect import Dialect


class GenerationHandler(GatewayHandler):
    """Answers `POST` in one dialect."""

    __slots__ = ("_dialect",)

    access = Access(frozenset({"POST"}), authenticated=True)

    def initialize(self, services: Services, dialect: Dialect) -> None:  # type: ignore[override]  # Tornado hands over what the route names
        super().initialize(services)
        self._dialect = dialect

    def work(self, body: bytes) -> Coroutine[Any, Any, None]:
        return self._services.exchange.serve(self.context, self._dialect, body, self.reply, self.tally)
