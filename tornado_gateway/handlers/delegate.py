"""One request through one handler: what Tornado's own delegate does, without the parts that no handler of ours has.

No transforms, path arguments or tokens of forms, and no awaiting of what is done already: less than half of what it costs there. Routes that
are mounted in somebody else's application are run by Tornado's, in the same order: `prepare`, the body, the method.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine, ResponseStartLine
from tornado.web import Application

from tornado_gateway.handlers.base import GatewayHandler


class HandlerDelegate(HTTPMessageDelegate):
    """Drives a `GatewayHandler` of one class. The connection keeps it while a body is waited for, `Services.at_work` its handler and task."""

    def __init__(
        self, application: Application, request: HTTPServerRequest, handler: type[GatewayHandler], arguments: dict[str, Any]
    ) -> None:
        self._application = application
        self._request = request
        self._class = handler
        self._arguments = arguments

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> asyncio.Future[None]:
        """Begin. What is returned is done when the handler is ready for the body."""
        loop = asyncio.get_running_loop()
        # Where a handler looks when the client leaves: Tornado's name for it.
        self._body = self._request._body_future = loop.create_future()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._handler = self._class(self._application, self._request, **self._arguments)
        self._task = loop.create_task(self._run(self._handler))
        return self._ready

    def data_received(self, chunk: bytes) -> Any:
        return self._handler.data_received(chunk)

    def finish(self) -> None:
        if not self._body.done():
            self._body.set_result(None)

    def on_connection_close(self) -> None:
        self._handler.on_connection_close()

    async def _run(self, handler: GatewayHandler) -> None:
        try:
            await handler.prepare()
            if handler.refused:
                return
            if not self._body.done():
                self._ready.set_result(None)
                await self._body
            await handler.body_received()
        except Exception as error:  # noqa: BLE001  # a fault of ours: there is nobody above to tell it to
            handler.log_exception(type(error), error, error.__traceback__)
        finally:
            if not self._ready.done():
                self._ready.set_result(None)
