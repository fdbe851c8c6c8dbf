"""P61: what reads the bytes of strangers, one target each: it answers or refuses, and never fails in another way."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from faults.deep import examples
from hypothesis import example, given
from hypothesis import strategies as st

from tornado_gateway.config import ConfigError, Settings
from tornado_gateway.config.source import read_document
from tornado_gateway.errors import GatewayError, UpstreamInvalidResponse
from tornado_gateway.hookspecs import NativeCall
from tornado_gateway.wire import openai_chat, openai_completions, openai_embeddings
from tornado_gateway.wire.dialect import Limits, ModelFacts, Policy
from tornado_gateway.wire.ollama import Record, RecordReader
from tornado_gateway.wire.sse import event
from tornado_gateway_auth import presented_key
from tornado_gateway_auth_keys import KeyEntry, Ring
from tornado_gateway_cache_entries import key_of

LATIN = st.text(st.characters(max_codepoint=255))
"""What a header can hold."""


def values(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | st.integers() | numbers | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=12,
    )


JSON, FINITE = values(st.floats()), values(st.floats(allow_nan=False, allow_infinity=False))
RING = Ring([KeyEntry.model_validate({"name": "ada", "key": "the only key"})])


@examples(250, 100_000)
@given(
    st.dictionaries(st.sampled_from(["authorization", "api-key", "x-api-key", "cookie"]), LATIN | LATIN.map("Bearer {}".format))
)
def test_p61_the_reader_of_keys_knows_the_one_key_and_no_other(headers: dict[str, str]) -> None:
    key = presented_key(headers)

    found = RING.find(key, 0.0)

    assert (found is not None) == (key == "the only key")
    assert key is None or any(key in value for value in headers.values())


FIELDS = st.sampled_from(
    ["model", "messages", "stream", "stream_options", "tools", "tool_choice", "response_format", "stop", "n", "max_tokens", "seed",
     "temperature", "logprobs", "logit_bias", "user", "prompt", "suffix", "input", "dimensions", "encoding_format", "Model", "x"]
)  # fmt: skip
VALID: dict[Any, dict[str, Any]] = {
    openai_chat.DIALECT: {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]},
    openai_completions.DIALECT: {"model": "m", "prompt": "Hello"},
    openai_embeddings.DIALECT: {"model": "m", "input": ["Hello"]},
}


@pytest.mark.parametrize("dialect", VALID, ids=lambda dialect: type(dialect).__name__)
@examples(100, 50_000)
@given(changes=st.dictionaries(FIELDS, JSON, max_size=4), cut=st.integers(0, 400), put=st.binary(max_size=6))
def test_p61_a_body_gives_a_call_or_a_refusal(dialect: Any, changes: dict[str, Any], cut: int, put: bytes) -> None:
    body = json.dumps({**VALID[dialect], **changes}).encode()
    body = body[:cut] + put + body[cut + len(put) :]

    refusal: GatewayError | None = None
    calls: Sequence[NativeCall] = ()
    try:
        calls = dialect.parse(body, Limits()).plan(ModelFacts("m:latest", "d"), Policy()).calls
    except GatewayError as error:
        refusal = error

    assert refusal is None or (refusal.status in (400, 404, 413) and refusal.message.encode())
    assert all(json.loads(call.wire_body.decode())["model"] == "m:latest" for call in calls)


@examples(150, 50_000)
@given(
    st.lists(st.binary(max_size=30) | st.sampled_from([b"\n", b"{}", b'{"done":true}\n', b'{"error":"x"}\n', b"\r\n", b"\xff"]))
)
def test_p61_the_splitter_of_lines_gives_records_or_one_refusal_however_it_is_cut(parts: list[bytes]) -> None:
    assert _read(parts) == _read([b"".join(parts)]) == _read([bytes([byte]) for byte in b"".join(parts)])


def _read(parts: list[bytes]) -> tuple[list[Record], bool]:
    reader, records = RecordReader(max_line_bytes=64), []
    try:
        for part in parts:
            records += reader.feed(part)
        records += reader.finish()
    except UpstreamInvalidResponse:
        # `finish` salvages nothing: all whole lines were given before it.
        return records + [record for record in reader.salvaged if all(record is not known for known in records)], True
    return records, False


@examples(150, 100_000)
@given(FINITE)
def test_c10_p61_an_event_is_one_line_that_says_the_same(value: Any) -> None:
    try:
        data = event(value)
    except UnicodeEncodeError:  # lone surrogates: no JSON text of Ollama's can hold one
        return

    assert data.startswith(b"data: ")
    assert data.endswith(b"\n\n")
    line = data[6:-2]
    assert not any(character in line for character in (b"\n", b"\r", b"\0"))
    assert json.loads(line) == value


YAML = st.lists(
    st.sampled_from(
        ["server:", "  port: ", "plugins:", "  - auth", "  - cache: {", "models:", "upstream: {url: ", "&a ", "*a", "<<: *a", "!!python/object:os.system ",
         "${X}", "${X:-", "}", "[", "]", "? ", "- ", "|", ">", "'", '"', "\t", "\n", "\n  ", ": ", "1", "x", "\x00", "%YAML 9", "---", "..."]
    )
    | st.text(max_size=8),
    max_size=20,
).map("".join)  # fmt: skip


@examples(150, 50_000)
@given(YAML, st.text(max_size=20))
def test_p61_a_file_gives_settings_or_a_list_of_problems(text: str, value: str) -> None:
    try:
        document = read_document(text, "config.yaml", {"X": value})
        Settings.model_validate(document.values)
    except (ConfigError, ValueError):
        pass


TEXT = st.text(max_size=8) | st.sampled_from(["a", "bc", "ab", "c", "1:", ":", ""])
CALLS = st.builds(
    NativeCall,
    endpoint=st.sampled_from(["/api/chat", "/api/generate", "/api/embed"]),
    model=TEXT,
    digest=TEXT,
    body=st.binary(max_size=8) | TEXT.map(str.encode),
    stream=st.booleans(),
)
ASKED = st.tuples(TEXT, CALLS, st.integers(0, 3))


M1, M = (NativeCall("/api/chat", name, "", b"{}", stream=False) for name in ("m1", "m"))
"""With their number behind them, `m1` and 0 read like `m` and 10."""


@examples(250, 100_000)
@example(("a", M1, 0), ("a", M, 10))
@given(ASKED, ASKED)
def test_c02_p61_two_keys_of_the_cache_are_equal_only_where_all_that_matters_is(
    one: tuple[str, NativeCall, int], other: tuple[str, NativeCall, int]
) -> None:
    def matters(asked: tuple[str, NativeCall, int]) -> tuple[object, ...]:
        tenant, call, twin = asked
        return tenant, call.endpoint, ("digest", call.digest) if call.digest else ("name", call.model), call.body, twin

    assert (key_of(*one) == key_of(*other)) == (matters(one) == matters(other))
