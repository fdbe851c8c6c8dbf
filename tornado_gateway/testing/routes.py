"""What the simulated Ollama answers to a request: the routes, the lists, and the way to the models."""

from __future__ import annotations

import time
from itertools import count
from typing import cast

from tornado_gateway.testing import models, native
from tornado_gateway.testing.asking import Asker, Outcome, refused
from tornado_gateway.testing.behaviour import NOTHING, Behaviour
from tornado_gateway.testing.doors import ROUTES, refused_at_the_door
from tornado_gateway.testing.gojson import encode
from tornado_gateway.testing.house import House
from tornado_gateway.testing.http import Request
from tornado_gateway.testing.ledger import INFERENCE, RequestEntry
from tornado_gateway.testing.native import NativeRequest
from tornado_gateway.testing.refusals import CLOUD_DETAILS_OFF, RUNNER_DIED, Refusal
from tornado_gateway.testing.replies import PLAIN, TEXT, Reply, body_reply, raw_reply
from tornado_gateway.testing.showing import show

_CLOSING = Behaviour(headers={"Connection": "close"})
"""Said to a client that asked for it, as Go's server does."""


class Routes:
    """Requests to replies."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._salt = count()

    def serve(self, request: Request, entry: RequestEntry) -> Outcome:
        """The reply, or a function whose coroutine waits for it."""
        plain = NOTHING if request.keep_alive else _CLOSING
        if refused_at_the_door(request):
            return body_reply(403, b"", plain, time.time(), content_type="")
        asked, refusal = _read(request)
        behaviour = self._behaviour(request, asked).over(plain)
        scripted = _scripted(request, behaviour)
        if scripted is not None:
            return scripted
        if request.method not in ROUTES.get(request.path, ()):
            return _misdirected(request, plain)
        try:
            if refusal is not None:
                raise refusal
            if asked is not None:
                return Asker(self._house, asked, behaviour, entry, str(next(self._salt))).outcome()
            return self._listing(request, behaviour)
        except Refusal as error:
            return refused(error, asked, behaviour)

    def _behaviour(self, request: Request, asked: NativeRequest | None) -> Behaviour:
        """Defaults are for models: lists answer at once unless a rule names their path."""
        told = self._house.script.take(request.path, asked) if len(self._house.script) else None
        if request.path not in INFERENCE:
            return told or NOTHING
        return told.over(self._house.defaults) if told is not None else self._house.defaults

    def _listing(self, request: Request, behaviour: Behaviour) -> Reply:
        body, content_type = self._listed(request)
        if behaviour.text is not None:
            body = behaviour.text.encode()
        head_only = request.method == "HEAD"
        return body_reply(200, body, behaviour, time.time(), content_type=content_type, head_only=head_only)

    def _listed(self, request: Request) -> tuple[bytes, str]:
        house = self._house
        match request.path:
            case "/":
                return b"Ollama is running", TEXT
            case "/api/version":
                answer: object = {"version": house.version}
            case "/api/tags":
                answer = models.tags(house.models.values())
            case "/api/ps":
                answer = house.runners.ps()
            case _:
                answer = self._shown(request.body)
        return encode(answer), "application/json; charset=utf-8"

    def _shown(self, raw: bytes) -> object:
        return show(self._house.find(native.read_show(raw), "/api/show", CLOUD_DETAILS_OFF))


def _read(request: Request) -> tuple[NativeRequest | None, Refusal | None]:
    if request.path not in INFERENCE or request.method != "POST":
        return None, None
    try:
        return native.read(cast(native.Endpoint, request.path), request.body), None
    except Refusal as refusal:
        return None, refusal


def _scripted(request: Request, behaviour: Behaviour) -> Reply | None:
    """What needs no model and no route: bytes by hand, a redirect, an error."""
    if behaviour.raw is not None:
        return raw_reply(behaviour)
    if behaviour.redirect is not None:
        return body_reply(307, b"", behaviour, time.time(), content_type=TEXT, headers=f"Location: {behaviour.redirect}\r\n")
    if behaviour.status is None:
        return None
    if behaviour.error is None and behaviour.text is not None:
        body = behaviour.text.encode()
    else:
        body = encode({"error": RUNNER_DIED if behaviour.error is None else behaviour.error})
    return body_reply(behaviour.status, body, behaviour, time.time(), head_only=request.method == "HEAD")


def _misdirected(request: Request, plain: Behaviour) -> Reply:
    """No such route, or not with this method; a slash too many is redirected."""
    now = time.time()
    bare = request.path.rstrip("/")
    allowed = ROUTES.get(request.path)
    if allowed is not None:
        headers = f"Allow: {', '.join(allowed)}\r\n"
        return body_reply(405, b"405 method not allowed", plain, now, content_type=PLAIN, headers=headers)
    if bare and request.method in ROUTES.get(bare, ()):
        status = 301 if request.method == "GET" else 307
        headers = f"Location: {bare}\r\n"
        body = f'<a href="{bare}">Moved Permanently</a>.\n\n'.encode() if status == 301 else b""
        return body_reply(status, body, plain, now, content_type="text/html; charset=utf-8" if body else "", headers=headers)
    return body_reply(404, b"404 page not found", plain, now, content_type=PLAIN)
