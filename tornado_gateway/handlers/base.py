"""What every route has in common: one request from its head to its last byte, whatever happens on the way.

The context exists before anything can fail. The caller is known, and the head found good, before the body is read. A client that leaves
cancels the request; `finished` is told once, at the end, however it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar

from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler, stream_request_body

from tornado_gateway.context import Ended, learn
from tornado_gateway.errors import (
    GatewayError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    RequestTooLarge,
    ShuttingDown,
)
from tornado_gateway.exchange import Tally
from tornado_gateway.handlers import facts, gate
from tornado_gateway.handlers.embedded import peer_of
from tornado_gateway.handlers.peer import ReaderStalled
from tornado_gateway.handlers.reply import Reply
from tornado_gateway.handlers.request import repeated_in
from tornado_gateway.handlers.services import Services
from tornado_gateway.log import get_logger

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_DROPPED_BYTES = 256 * 1024 * 1024

_log = get_logger(__name__)


class _AnyMethod:
    """Every method is let in: refusing one is our own work, in our own words."""

    def __contains__(self, _: object) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask a route, and how. Every route states it, or the application does not start."""

    methods: frozenset[str]
    authenticated: bool


@stream_request_body
class GatewayHandler(RequestHandler):
    """The base of all handlers; a route's own work is `work`."""

    # Beside the dictionary that Tornado's handlers have: what is looked at many times a request is found without it.
    __slots__ = (
        "_begun",
        "_chunks",
        "_concluded",
        "_ending",
        "_preflight",
        "_received",
        "_refusal",
        "_services",
        "_task",
        "context",
        "peer",
        "reply",
        "tally",
    )

    SUPPORTED_METHODS = _AnyMethod()  # type: ignore[assignment]  # only asked with `in`
    access: ClassVar[Access]

    def initialize(self, services: Services) -> None:
        self._services = services
        self._task: asyncio.Task[Any] | None = None
        self._ending: Ended | None = None
        self._begun = False
        self._concluded = False
        self._refusal: GatewayError | None = None
        self._chunks: list[bytes] = []
        self._received = 0
        # What goes out is our own work (see reply.py); Tornado is not to add an end of its own.
        self._auto_finish = False

    def clear(self) -> None:
        """Nothing: the base class would prepare headers, for every request, that are never sent."""

    async def work(self, body: bytes) -> None:
        """Answer the request. Raises `GatewayError`."""
        raise NotImplementedError

    async def prepare(self) -> None:
        """Before the body is read: who asks, and is the head good?"""
        services, request = self._services, self.request
        self.peer = peer_of(request)
        if self.peer.closed or self._ending is not None:
            # A request that lay behind another when its client left: nobody is there to be answered, so it is not begun.
            self._finished = self._concluded = True
            return
        self._begun = True
        self.tally = Tally()
        self.context = facts.new_context(request, services.new_id)
        self._preflight = request.method == "OPTIONS" and facts.is_preflight(self.context.headers)
        self.reply = Reply(
            request, self.peer, services.rules.write_stall_seconds, self.reply_headers, keep_alive=lambda: not services.draining
        )
        services.begin(self)
        self.peer.watch(services.presence, self._gone)
        await self._guarded(self._enter())

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """A part of the body. What came with the head may be given before `prepare` has run."""
        self._received += len(chunk)
        limit = self._services.rules.max_body_bytes
        if self._concluded:
            # The rest of a body that is refused is read and dropped, so that the client comes to read the refusal.
            if self._received > limit + _DROPPED_BYTES:
                self.peer.close()
        elif self._received > limit and self._begun:
            self._chunks.clear()
            return self._guarded(self._refuse_unread(gate.too_large(limit)))
        else:
            self._chunks.append(chunk)
        return None

    @property
    def refused(self) -> bool:
        """Whether `prepare` has ended the request, so that its body is not waited for."""
        return self._finished

    def body_received(self) -> Coroutine[Any, Any, None]:
        """The body is whole, or there is none."""
        return self._guarded(self._respond())

    get = head = post = put = patch = delete = options = body_received

    def on_connection_close(self) -> None:
        """The client has left. A body that is waited for ends: what comes behind it finds that nobody is there."""
        if not self.request._body_future.done():
            self.request._body_future.set_result(None)  # the base class's exception would hold all that awaits it
        self._gone()

    def stop(self) -> None:
        """End the request because the server stops: see `AtWork`."""
        self._end_early("shutdown")

    async def _enter(self) -> None:
        try:
            self._check_head()
            if self.access.authenticated and not self._preflight:
                learn(self.context, principal=await self._services.hooks.authenticate(self.context))
            if self._expects_body:
                gate.check_body(self.context.headers, self._services.rules.max_body_bytes, self._received)
        except GatewayError as error:
            if not self._expects_body and self.request.method in _METHODS:
                self._refusal = error  # nothing more comes: it is said in turn, and the connection stays
                return
            # Tornado goes on to the method, and for an odd one has none, unless it believes that the answer is finished.
            self._finished = True
            await self._refuse_unread(error)
            await self.peer.linger(generous=isinstance(error, RequestTooLarge))

    def _check_head(self) -> None:
        request, rules = self.request, self._services.rules
        headers = self.context.headers
        if rules.hosts is not None:
            gate.check_host(headers.get("host"), rules.hosts)
        self._check_origin()
        gate.check_single(repeated_in(request))
        if request.version != "HTTP/1.1" and "transfer-encoding" in headers:
            raise InvalidRequest("HTTP/1.0 has no Transfer-Encoding.")
        gate.check_query(request.query)
        if self._preflight:
            return
        if request.method not in self.access.methods:
            allowed = ", ".join(sorted(self.access.methods))
            raise MethodNotAllowed(f"This address answers to {allowed} only.", headers={"Allow": allowed})
        if self._services.draining and self.access.authenticated:
            raise _stopping()

    def _check_origin(self) -> None:
        origin = self.context.headers.get("origin")
        if origin is not None and gate.check_origin(origin, self._services.rules.cors_origins):
            self.context.response_headers.update(facts.cors_headers(origin))

    async def _respond(self) -> None:
        if self._concluded:
            self.peer.close()
            return
        if self._ending is not None:
            raise asyncio.CancelledError  # left or stopped while the body came in
        if self._refusal is not None:
            raise self._refusal
        if self._preflight:
            self.reply.whole("", b"", status=204, headers=facts.preflight_headers(self.access.methods))
        else:
            body = b"".join(self._chunks)
            self._chunks.clear()
            await self.work(body)
        if self.reply.congested:
            await self.reply.drain()
        if self._ending == "client_left" and self.reply.closed:
            raise StreamClosedError
        await self._conclude("complete")

    async def _refuse_unread(self, error: GatewayError) -> None:
        """Refuse with what the client still sends unread."""
        if self.reply.started:
            return  # the body came to its end, or grew too large, at the same moment
        await self.reply.last_error(error, self._status(error))
        await self._conclude(facts.ended_by(error), error)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a part of the request, so that whatever comes of it the client is told honestly and the request ends once."""
        self._task = asyncio.current_task()
        try:
            await work
        except GatewayError as error:
            await self._fail(error)
        except (ReaderStalled, StreamClosedError) as error:
            self.reply.abort()
            await self._conclude("client_left", code="write_stalled" if isinstance(error, ReaderStalled) else None)
        except asyncio.CancelledError:
            if self._ending is None:  # not by us: the loop ends, or a plugin has cancelled the task in which it was called
                self.reply.abort()
                await self._conclude("shutdown" if self._services.draining else "failed")
                raise
            if self._task is not None:
                self._task.uncancel()
            await self._cancelled(self._ending)
        except Exception as error:  # noqa: BLE001  # the last net: a fault of ours is answered and logged, never shown
            _log.error("request_failed", request_id=self.context.id, exc_info=error)
            await self._fail(_fault())
        finally:
            self._task = None

    async def _cancelled(self, ending: Ended) -> None:
        if ending == "client_left":
            self.reply.abort()
            await self._conclude("client_left")
        else:
            await self._fail(_stopping())

    async def _fail(self, error: GatewayError) -> None:
        """Tell the client, and end. What cannot be told, for whatever reason, ends the request all the same."""
        try:
            await self._tell(error)
        except Exception as untold:  # noqa: BLE001  # the net under the last net: a plugin's error may be of a class of its own
            _log.error("request_failed", request_id=self.context.id, exc_info=untold)
            if self.reply.started or type(error) is InternalError:
                self.reply.abort()
                await self._conclude("failed", code=InternalError.code)
            else:
                await self._fail(_fault())

    async def _tell(self, error: GatewayError) -> None:
        if self.reply.closed:
            await self._conclude("client_left")
            return
        # Who leaves now, or stops the server, does not cut the last words short: they take half a second at most, and end when nobody is there.
        self._ending = self._ending or facts.ended_by(error)
        if not self.reply.started:
            self.reply.error(error, self._status(error))
        elif not self.reply.ended:
            await self.reply.break_off(error)
        await self._conclude(facts.ended_by(error), error)

    def _status(self, error: GatewayError) -> int:
        instead = self._services.rules.upstream_failure_status
        return instead if instead is not None and error.code in facts.UPSTREAM_FAILURES else error.status

    async def _conclude(self, ended: Ended, error: GatewayError | None = None, code: str | None = None) -> None:
        """The end, once: the watch ends, the plugins are told."""
        if self._concluded:
            return
        self._concluded = True
        self._chunks.clear()
        self.peer.forget(self._services.presence, self._gone)
        status = self.reply.status or (None if error is None else self._status(error))
        code = code if error is None else error.code
        outcome = facts.outcome(self.context, self.tally, ended, status, code, self.reply.bytes_out)
        try:
            await self._services.hooks.finished(self.context, outcome)
        finally:
            self._services.end(self)
            # Handler and reply, and handler and Tornado's names for templates, hold each other: let go here, they are freed at once,
            # and not by the collector, which would look through the whole process for them.
            self.reply.let_go()
            self.ui.clear()

    def _gone(self) -> None:
        self._end_early("client_left")

    def _end_early(self, ending: Ended) -> None:
        if self._concluded or self._ending is not None:
            return
        self._ending = ending
        if self._task is not None:
            self._task.cancel()
        elif ending == "client_left" and self._begun:
            self.peer.close()  # the body was still coming in
        elif self._begun:
            # Nobody is at work that could be told: the body is waited for.
            self._task = asyncio.get_running_loop().create_task(self._guarded(self._refuse_unread(_stopping())))

    @property
    def _expects_body(self) -> bool:
        headers = self.context.headers
        return "transfer-encoding" in headers or headers.get("content-length", "0").strip() != "0"

    def reply_headers(self) -> dict[str, str]:
        """What goes out with every head. Asked for once, when the head is written."""
        context = self.context
        headers = {"X-Request-Id": context.id, **context.response_headers}
        if context.ignored:
            headers["X-Ignored-Params"] = facts.ignored_names(context.ignored)
        if not context.stream:
            headers["Server-Timing"] = facts.server_timing(context, self.tally)
        return headers

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """What Tornado refuses by itself, before `prepare`: in our shape all the same."""
        error: GatewayError = (
            InternalError("The gateway failed.") if status_code >= 500 else InvalidRequest("The request is malformed.")
        )
        headers = {"X-Request-Id": self._services.new_id()}
        Reply(self.request, peer_of(self.request), 1, lambda: headers, keep_alive=lambda: False).error(error, error.status)
        self._finished = True

    def log_exception(self, *exc_info: Any) -> None:
        """What escapes the net of `_guarded` is a fault of ours."""
        _log.error("request_failed", exc_info=exc_info)


def _stopping() -> ShuttingDown:
    return ShuttingDown("The gateway is about to stop.", retry_after=1)


def _fault() -> InternalError:
    return InternalError("The gateway failed. Its log says why, under this request's id.")
