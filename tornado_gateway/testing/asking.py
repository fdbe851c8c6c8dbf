"""Chat, generate and embed: checks in Ollama's order, a place on the model, and the reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

from tornado_gateway.testing import tokens, vectors
from tornado_gateway.testing.answers import Answer, compose
from tornado_gateway.testing.behaviour import Behaviour
from tornado_gateway.testing.gojson import encode
from tornado_gateway.testing.house import House
from tornado_gateway.testing.ledger import RequestEntry
from tornado_gateway.testing.models import FakeModel, canonical_name, qualified_name
from tornado_gateway.testing.native import NativeRequest
from tornado_gateway.testing.options import Options, read_options
from tornado_gateway.testing.records import Scribe, embedded
from tornado_gateway.testing.refusals import NO_EMBEDDINGS, NO_IMAGES, RUNNER_DIED, TOO_LONG_TO_EMBED, Refusal, runner_refusal
from tornado_gateway.testing.replies import Reply, body_reply, stream_reply
from tornado_gateway.testing.runners import Place

Outcome = Reply | Callable[[], Coroutine[Any, Any, Reply]]
_SOUNDS = (b"ID3", b"\xff\xfb", b"RIFF")


class Asker:
    """One request to a model. `salt` varies answers that nobody asked to be repeatable."""

    def __init__(self, house: House, request: NativeRequest, behaviour: Behaviour, entry: RequestEntry, salt: str) -> None:
        self._house = house
        self._request = request
        self._behaviour = behaviour
        self._entry = entry
        self._salt = salt
        self._arrived = time.monotonic_ns()

    def outcome(self) -> Outcome:
        """The reply, or a function whose coroutine waits for a place first. Raises `Refusal`."""
        request, behaviour, runners = self._request, self._behaviour, self._house.runners
        model = self._house.find(request.model, request.endpoint)
        if request.endpoint != "/api/embed":
            _check_capabilities(request, model)
            if request.asks_nothing and request.keep_alive == 0:
                runners.unload(model)
                return self._body(self._scribe(model).nothing("unload"))
        options = read_options(request.options, self._house.context_length, model.context_length)
        load = behaviour.load_seconds or 0.0
        arguments = (model, options.load_time or {}, request.keep_alive, load)
        slow = not request.stream and (behaviour.tokens_per_second or behaviour.first_byte_seconds)
        place = None if slow else runners.place_now(*arguments)
        if place is not None:
            return self._reply(model, options, place)

        async def wait() -> Reply:
            try:
                return await self._reply_in_time(model, options, await runners.place(*arguments))
            except Refusal as refusal:
                return refused(refusal, request, behaviour)

        return wait

    async def _reply_in_time(self, model: FakeModel, options: Options, place: Place) -> Reply:
        """An answer that is not streamed takes as long as its tokens would have."""
        if self._request.stream:
            return self._reply(model, options, place)
        try:
            seconds = self._behaviour.first_byte_seconds or 0.0
            if self._behaviour.tokens_per_second and self._request.endpoint != "/api/embed":
                answer = compose(self._request, model, options, self._behaviour, self._salt)
                seconds += len(answer.pieces) / self._behaviour.tokens_per_second
            await asyncio.sleep(seconds)
        except BaseException:
            place.release()
            raise
        return self._reply(model, options, place)

    def _reply(self, model: FakeModel, options: Options, place: Place) -> Reply:
        self._entry.started_at = time.monotonic()
        try:
            reply = self._made(model, options, place)
        except Refusal as refusal:
            reply = refused(refusal, self._request, self._behaviour)
        reply.release = place.release
        return reply

    def _made(self, model: FakeModel, options: Options, place: Place) -> Reply:
        request, behaviour = self._request, self._behaviour
        if request.endpoint == "/api/embed":
            return self._body(self._embedding(model, options, place))
        scribe = self._scribe(model, place)
        if request.asks_nothing:
            return self._body(scribe.nothing("load"))
        _check_media(request, model)
        if behaviour.records is not None:
            lines = [_line(record) for record in behaviour.records]
            return stream_reply(lines, behaviour, time.time()) if request.stream else self._body(b"".join(lines))
        answer = compose(request, model, options, behaviour, self._salt)
        if request.stream:
            return stream_reply(self._stream(scribe, answer), behaviour, time.time())
        if behaviour.error is not None:
            raise Refusal(500, behaviour.error)
        return self._body(scribe.whole(answer, done=not behaviour.without_done))

    def _stream(self, scribe: Scribe, answer: Answer) -> Iterator[bytes]:
        behaviour = self._behaviour
        fails_after = behaviour.error_after or 0 if behaviour.error is not None else None
        for index, piece in enumerate(answer.pieces):
            if index == fails_after:
                break
            yield scribe.piece(piece)
        if fails_after is not None:
            yield encode({"error": behaviour.error or RUNNER_DIED}) + b"\n"
        elif not behaviour.without_done:
            yield scribe.last(answer)

    def _embedding(self, model: FakeModel, options: Options, place: Place) -> bytes:
        request, behaviour = self._request, self._behaviour
        if behaviour.error is not None:
            raise Refusal(400, behaviour.error)
        if behaviour.text is not None:
            return behaviour.text.encode()
        if not request.inputs:
            return encode({"model": request.model, "embeddings": []})
        if not model.is_embedder:
            raise Refusal(501, NO_EMBEDDINGS)
        counts = [tokens.count(text) + 2 for text in request.inputs]
        if not request.truncate and max(counts) > options.num_ctx:
            raise Refusal(400, TOO_LONG_TO_EMBED)
        made = [
            vectors.shortened(vectors.vector(text, model.full_name, model.embedding_length), request.dimensions)
            for text in request.inputs
        ]
        total = sum(min(number, options.num_ctx) for number in counts)
        if behaviour.prompt_tokens is not None:
            total = behaviour.prompt_tokens
        return embedded(request.model, made, total, self._arrived, place.loaded_in)

    def _scribe(self, model: FakeModel, place: Place | None = None) -> Scribe:
        return Scribe(self._request, model, self._arrived, place.loaded_in if place else 0)

    def _body(self, body: bytes) -> Reply:
        """The wait before the first byte is over when a whole answer is written."""
        behaviour = self._behaviour
        if behaviour.first_byte_seconds and not self._request.stream:
            behaviour = replace(behaviour, first_byte_seconds=None)
        return body_reply(200, body, behaviour, time.time())


def refused(refusal: Refusal, request: NativeRequest | None, behaviour: Behaviour) -> Reply:
    """An error. What the model's process refuses is framed as a stream's start when a stream was asked for."""
    if refusal.by_runner and request is not None and request.stream:
        return stream_reply([refusal.body], behaviour, time.time(), status=refusal.status, content_type="application/json")
    return body_reply(refusal.status, refusal.body, behaviour, time.time())


def _check_capabilities(request: NativeRequest, model: FakeModel) -> None:
    able = model.capabilities
    chat = request.endpoint == "/api/chat"
    if "completion" not in able:
        raise Refusal(400, f'"{request.model}" does not support {"chat" if chat else "generate"}')
    if request.raw and (request.template or request.system or request.context):
        raise Refusal(400, "raw mode does not support template, system, or context")
    name = qualified_name(canonical_name(request.model))
    needed = [("tools", request.tools), ("insert", request.suffix)]
    missing = [f"{name} does not support {what}" for what, asked in needed if asked and what not in able]
    if missing:
        raise Refusal(400, "\n".join(missing))
    if request.think and "thinking" not in able:
        raise Refusal(400, f'"{request.model}" does not support thinking')


def _check_media(request: NativeRequest, model: FakeModel) -> None:
    media = [*request.images, *(image for message in request.messages for image in message.get("images", ()))]
    for item in media:
        sound = item.startswith(_SOUNDS) and item[8:12] != b"WEBP"
        if ("audio" if sound else "vision") not in model.capabilities:
            raise runner_refusal(NO_IMAGES)


def _line(record: Any) -> bytes:
    if isinstance(record, bytes):
        return record
    return record.encode() if isinstance(record, str) else encode(record) + b"\n"
