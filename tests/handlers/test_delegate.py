"""A handler is run in Tornado's order, and whatever it does the connection is not left waiting."""

import asyncio
import logging
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application

from tornado_gateway.handlers.base import GatewayHandler
from tornado_gateway.handlers.delegate import HandlerDelegate

HEAD = RequestStartLine("POST", "/", "HTTP/1.1")


class Connection:
    """As much of a connection as a handler needs that answers nothing."""

    def set_close_callback(self, callback: object) -> None:
        pass


class Noting(GatewayHandler):
    """Notes in which order it is called."""

    def initialize(self, calls: list[str], fails: str = "", refuses: bool = False) -> None:  # type: ignore[override]  # for these tests
        self.calls, self._fails = calls, fails
        self._finished = refuses

    async def prepare(self) -> None:
        self._note("prepare")

    def data_received(self, chunk: bytes) -> None:
        self._note(chunk.decode())

    async def body_received(self) -> None:
        self._note("body")

    def on_connection_close(self) -> None:
        self._note("left")
        self.request._body_future.set_result(None)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call == self._fails:
            raise ZeroDivisionError


def delegate(calls: list[str], **more: Any) -> tuple[HandlerDelegate, "asyncio.Future[None]"]:
    headers = HTTPHeaders({"Host": "localhost"})
    request = HTTPServerRequest(start_line=HEAD, headers=headers, connection=Connection())  # type: ignore[arg-type]  # as said
    made = HandlerDelegate(Application([]), request, Noting, {"calls": calls, **more})
    return made, made.headers_received(HEAD, headers)


async def test_a_body_that_is_there_is_not_waited_for() -> None:
    calls: list[str] = []
    made, ready = delegate(calls)
    made.data_received(b"a")
    made.finish()

    await ready

    assert calls == ["a", "prepare", "body"]


async def test_a_body_that_comes_later_is_waited_for() -> None:
    calls: list[str] = []
    made, ready = delegate(calls)
    await ready
    made.data_received(b"a")
    assert calls == ["prepare", "a"]
    made.finish()

    await made._task

    assert calls == ["prepare", "a", "body"]


async def test_what_was_refused_is_not_answered_again() -> None:
    calls: list[str] = []
    made, ready = delegate(calls, refuses=True)
    made.finish()

    await ready

    assert calls == ["prepare"]


async def test_a_client_that_leaves_while_its_body_comes_ends_the_wait() -> None:
    calls: list[str] = []
    made, ready = delegate(calls)
    await ready
    made.on_connection_close()

    await made._task

    assert calls == ["prepare", "left", "body"]


@pytest.mark.parametrize("place", ["prepare", "body"])
async def test_a_handler_that_fails_is_in_the_log_and_leaves_nobody_waiting(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "tornado_gateway")
    made, ready = delegate([], fails=place)
    made.finish()

    await asyncio.wait_for(ready, 5)
    await made._task

    assert [record.msg for record in caplog.records] == ["request_failed"]
