"""The list of models and one of them: what this caller may use."""

from __future__ import annotations

from urllib.parse import unquote

from tornado_gateway.context import learn
from tornado_gateway.handlers.base import Access, GatewayHandler
from tornado_gateway.handlers.reply import JSON
from tornado_gateway.hooks import ANONYMOUS
from tornado_gateway.models import Listed
from tornado_gateway.wire.openai_models import ModelEntry, encode_model, encode_models

_READ = Access(frozenset({"GET", "HEAD"}), authenticated=True)


class ModelsHandler(GatewayHandler):
    access = _READ

    async def work(self, body: bytes) -> None:
        principal = self.context.principal or ANONYMOUS
        listed = await self._services.catalog.listed(principal)
        self.reply.whole(JSON, encode_models([_entry(one) for one in listed]))


class ModelHandler(GatewayHandler):
    """`GET /v1/models/{id}`: ids hold `:` and `/`, as they are or percent-encoded."""

    access = _READ

    async def work(self, body: bytes) -> None:
        name = unquote(self.request.path.partition("/models/")[2], errors="replace")
        learn(self.context, model=name)
        model = await self._services.catalog.resolve(name, self.context.principal or ANONYMOUS)
        learn(self.context, resolved_model=model.name)
        self.reply.whole(JSON, encode_model(_entry(Listed(name, model))))


def _entry(listed: Listed) -> ModelEntry:
    return ModelEntry(id=listed.id, name=listed.model.name, modified_at=listed.model.modified_at)
