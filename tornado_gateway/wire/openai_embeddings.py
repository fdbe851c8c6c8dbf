"""`POST /v1/embeddings` over Ollama's `/api/embed`: texts in, one vector for each, in order.

A long list goes to Ollama in parts of bounded size. A text that is longer than the model's context is an error, as it is
OpenAI's, unless the caller asks for Ollama's `truncate`: a vector of half a text looks like any other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tornado_gateway.errors import GatewayError, InvalidRequest, UnsupportedValue, UpstreamInvalidResponse
from tornado_gateway.wire.decode import check_range, decode_known, required, whole_number
from tornado_gateway.wire.dialect import Limits, ModelFacts, Plan, Policy, Stamp
from tornado_gateway.wire.ignored import unused_fields
from tornado_gateway.wire.ollama import NativeCall, Record, encode_json
from tornado_gateway.wire.options import GivenOptions, Knobs, native_keep_alive, native_options, read_knobs

_MAX_DIMENSIONS = 2**31 - 1
_CHARS_A_TOKEN = 4
_CONTENT_TYPE = "application/json"


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Every field that has an effect here; all others are ignored and named."""

    model: str | None = None
    input: Any = None
    dimensions: int | float | None = None
    encoding_format: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    stream: bool | None = None
    truncate: bool | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None


KNOWN_FIELDS = frozenset(EmbeddingRequest.__struct_fields__)


class _Exact(EmbeddingRequest, frozen=True, forbid_unknown_fields=True):
    """A request without fields that are ignored."""


_decoder: msgspec.json.Decoder[EmbeddingRequest] = msgspec.json.Decoder(EmbeddingRequest)
_exact: msgspec.json.Decoder[EmbeddingRequest] = msgspec.json.Decoder(_Exact)


class EmbeddingCall(msgspec.Struct, frozen=True):
    """One request, read and checked."""

    model: str
    texts: tuple[str, ...]
    request: EmbeddingRequest
    options: GivenOptions
    body: bytes
    exact: bool
    """Whether every field of the body is known."""
    part: int
    stream: bool = False
    needs_facts: bool = True
    """A chat model is refused by what `/api/show` says: Ollama itself loads it first, and fails then."""

    @property
    def user(self) -> str | None:
        return self.request.safety_identifier or self.request.user

    def plan(self, facts: ModelFacts, policy: Policy) -> Plan:
        if facts.capabilities is not None and "embedding" not in facts.capabilities:
            raise UnsupportedValue("This model does not give embeddings; choose an embedding model.", param="model")
        fields, ignored = self._fields(facts, policy)
        parts = [self.texts[start : start + self.part] for start in range(0, len(self.texts), self.part)]
        calls = tuple(_native_call(facts, fields, index, texts) for index, texts in enumerate(parts))
        return Plan(calls, self._encoder, unused_fields(self.body, KNOWN_FIELDS, ignored, exact=self.exact))

    def _fields(self, facts: ModelFacts, policy: Policy) -> tuple[dict[str, Any], tuple[str, ...]]:
        options = native_options(self.options, policy, facts)
        keep_alive, not_kept = native_keep_alive(self.request.keep_alive, policy)
        fields = {
            "truncate": bool(self.request.truncate),
            "dimensions": whole_number(self.request.dimensions, "dimensions"),
            "options": options.values or None,
            "keep_alive": keep_alive,
        }
        streamed = ("stream",) if self.request.stream else ()
        return {name: value for name, value in fields.items() if value is not None}, options.ignored + not_kept + streamed

    def _encoder(self, stamp: Stamp) -> EmbeddingEncoder:
        as_base64 = (self.request.encoding_format or "float").lower() == "base64"
        return EmbeddingEncoder(self.model, len(self.texts), self.part, as_base64=as_base64)


class EmbeddingsDialect:
    """OpenAI's embeddings."""

    def parse(self, body: bytes, limits: Limits) -> EmbeddingCall:
        request, exact = decode_known(body, _exact, _decoder)
        if not request.model:
            raise required("model")
        texts = _texts(request.input, limits)
        whole_number(request.dimensions, "dimensions")
        check_range(request.dimensions, "dimensions", 1, _MAX_DIMENSIONS)
        if request.encoding_format is not None and request.encoding_format.lower() not in ("float", "base64"):
            raise InvalidRequest("`encoding_format` must be 'float' or 'base64'.", param="encoding_format")
        options = read_knobs(Knobs(options=request.options, keep_alive=request.keep_alive), limits)
        return EmbeddingCall(request.model, texts, request, options, body, exact, max(1, limits.embed_part))


DIALECT = EmbeddingsDialect()


class EmbeddingEncoder:
    """Collects the vectors of all parts; `finish` gives the whole answer.

    Numbers are passed on as Ollama wrote them, or as little-endian 32-bit floats in base64, which is what the SDKs ask for.
    """

    content_type = _CONTENT_TYPE

    def __init__(self, model: str, count: int, part: int, *, as_base64: bool) -> None:
        self._model = model
        self._count = count
        self._part = part
        self._as_base64 = as_base64
        self._vectors: dict[int, bytes] = {}
        self._tokens = 0

    def feed(self, index: int, records: Sequence[Record]) -> bytes:
        first = index * self._part
        for record in records:
            self._tokens += record.prompt_eval_count
            vectors = record.embeddings or ()
            if record.embeddings is not None and len(vectors) != min(self._part, self._count - first):
                raise _miscounted()
            for place, vector in enumerate(vectors, first):
                self._vectors[place] = self._encoded(bytes(vector))
        return b""

    def finish(self) -> bytes:
        if len(self._vectors) != self._count:
            raise _miscounted()
        data = b",".join(
            b'{"object":"embedding","index":%d,"embedding":%b}' % (place, self._vectors[place]) for place in range(self._count)
        )
        tail = {"model": self._model, "usage": {"prompt_tokens": self._tokens, "total_tokens": self._tokens}}
        return b'{"object":"list","data":[' + data + b"]," + encode_json(tail)[1:]

    def fail(self, error: GatewayError) -> bytes:
        return b""

    def _encoded(self, vector: bytes) -> bytes:
        try:
            numbers = _numbers.decode(vector)
            return encode_json(struct.pack(f"<{len(numbers)}f", *numbers)) if self._as_base64 else vector
        except (msgspec.MsgspecError, OverflowError) as error:
            raise UpstreamInvalidResponse("Ollama sent an embedding that is not a list of numbers.") from error


def _miscounted() -> UpstreamInvalidResponse:
    return UpstreamInvalidResponse("Ollama sent another number of embeddings than were asked for.")


_numbers = msgspec.json.Decoder(list[float])


def _native_call(facts: ModelFacts, fields: dict[str, Any], index: int, texts: Sequence[str]) -> NativeCall:
    return NativeCall(
        endpoint="/api/embed",
        model=facts.name,
        digest=facts.digest,
        body=encode_json({"model": facts.name, "input": texts, **fields}),
        stream=False,
        index=index,
        deterministic=True,
        prompt_tokens_estimate=sum(len(text) // _CHARS_A_TOKEN + 1 for text in texts),
    )


def _texts(given: Any, limits: Limits) -> tuple[str, ...]:
    """The texts of `input`: one, or a list of them. An empty text is a text: Ollama has a vector for it, inside a list."""
    if given is None:
        raise required("input")
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, list):
        raise InvalidRequest("`input` must be a string or an array of strings.", param="input")
    if not given:
        raise InvalidRequest("`input` must not be an empty array.", param="input")
    if len(given) > limits.max_inputs:
        raise InvalidRequest(f"`input` may hold {limits.max_inputs} texts at most.", param="input")
    return tuple(_checked(given))


def _checked(given: Iterable[Any]) -> Iterable[str]:
    for place, text in enumerate(given):
        if isinstance(text, list) or (isinstance(text, int) and not isinstance(text, bool)):
            raise UnsupportedValue(
                "`input` holds token ids, which Ollama cannot embed: send the texts themselves "
                "(LangChain: check_embedding_ctx_length=False).",
                param="input",
            )
        if not isinstance(text, str):
            raise InvalidRequest(f"`input[{place}]` must be a string.", param=f"input[{place}]")
        yield text
