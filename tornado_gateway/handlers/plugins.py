"""Addresses of plugins' own, below `/plugins/NAME`: the way in is everybody's, what is behind it the plugin's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType
from urllib.parse import parse_qsl

from tornado_gateway.budget import contain
from tornado_gateway.handlers.base import Access, GatewayHandler
from tornado_gateway.handlers.services import Services
from tornado_gateway.hookspecs import PluginRequest, PluginResponse, Route, StartupRefused
from tornado_gateway.wire.ollama import encode_json


class PluginHandler(GatewayHandler):
    """One route of one plugin."""

    def initialize(self, services: Services, prefix: str, route: Route) -> None:  # type: ignore[override]  # Tornado hands over what the route names
        super().initialize(services)
        self._prefix = prefix
        self._route = route
        self.access = Access(route.methods, route.authenticated)  # type: ignore[misc]  # the class has none: each route has its own

    async def work(self, body: bytes) -> None:
        request = self.request
        asked = PluginRequest(
            context=self.context,
            method=request.method or "",
            path=request.path.removeprefix(self._prefix),
            query=MappingProxyType(dict(parse_qsl(request.query, keep_blank_values=True))),
            body=body,
        )
        try:
            response = await self._route.handler(asked)
        except BaseException as error:
            contain(error)
            raise
        if not isinstance(response, PluginResponse):
            raise TypeError(f"{request.path}: {type(response).__name__} is not a PluginResponse")
        if not (isinstance(response.status, int) and 200 <= response.status <= 599):
            raise ValueError(f"{request.path}: {response.status!r} is not a status that ends a request")
        if not (response.content_type.isascii() and response.content_type.isprintable()):
            raise ValueError(f"{request.path}: {response.content_type!r} is not a content type that can be sent")
        answer = response.body if isinstance(response.body, bytes) else encode_json(response.body)
        self.reply.whole(response.content_type, answer, status=response.status)


def plugin_routes(routes: Sequence[tuple[str, Route]], mount: str) -> list[tuple[str, type[GatewayHandler], dict[str, object]]]:
    """The plugins' routes as the application wants them. Raises `StartupRefused` for a path that does not begin with a slash."""
    found: list[tuple[str, type[GatewayHandler], dict[str, object]]] = []
    for plugin, route in routes:
        if not route.path.startswith("/"):
            raise StartupRefused(f"plugin {plugin}: the route {route.path!r} must begin with a slash")
        prefix = f"/plugins/{plugin}"
        found.append((prefix + re.escape(route.path), PluginHandler, {"prefix": mount + prefix, "route": route}))
    return found
