"""Addresses without a key: is the process alive, can it serve, what is it; and the answer to every address that is none."""

from __future__ import annotations

import contextlib

from tornado_gateway.errors import NotFound, OriginNotAllowed
from tornado_gateway.handlers.base import Access, GatewayHandler
from tornado_gateway.handlers.reply import JSON
from tornado_gateway.wire.ollama import encode_json

_PROBE = Access(frozenset({"GET", "HEAD"}), authenticated=False)


class RootHandler(GatewayHandler):
    """A few words: clients probe it."""

    access = _PROBE

    async def work(self, body: bytes) -> None:
        self.reply.whole("text/plain; charset=utf-8", b"tornado-gateway is running\n")


class HealthHandler(GatewayHandler):
    """200 while the process can answer."""

    access = _PROBE

    async def work(self, body: bytes) -> None:
        self.reply.whole(JSON, encode_json({"status": "ok"}))


class ReadyHandler(GatewayHandler):
    """200 while Ollama answers and the server is not about to stop."""

    access = _PROBE

    async def work(self, body: bytes) -> None:
        services = self._services
        reason = "shutting down" if services.draining else await services.ollama.unready() or await services.hooks.unready()
        if reason is None:
            self.reply.whole(JSON, encode_json({"status": "ready"}))
        else:
            answer = encode_json({"status": "not ready", "reason": reason})
            self.reply.whole(JSON, answer, status=503, headers={"Retry-After": "1"})


class NotFoundHandler(GatewayHandler):
    """Every other address, whatever the method and with or without a key; no body is read for it."""

    access = _PROBE

    def _check_head(self) -> None:
        with contextlib.suppress(OriginNotAllowed):
            self._check_origin()
            if self._preflight:
                return  # a page that may read answers shall read this one, too: its browser asks first
        raise NotFound("There is nothing at this address; the base URL of OpenAI clients ends in /v1.")
