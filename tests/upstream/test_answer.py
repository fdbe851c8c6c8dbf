from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from upstream.raw import DONE, RECORD, STREAM_HEAD, WITHIN, Peer, Script, Serve, answering, chunk, chunked, whole

from tornado_gateway.errors import (
    GatewayError,
    ModelNotFound,
    Overloaded,
    UpstreamClosed,
    UpstreamError,
    UpstreamInvalidResponse,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tornado_gateway.upstream import Ollama, UpstreamOptions
from tornado_gateway.upstream.answer import MAX_BATCH_BYTES
from tornado_gateway.wire.ollama import NativeCall, Record

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"

STREAM = NativeCall("/api/chat", "m", "", b'{"model":"m"}', stream=True)
WHOLE = NativeCall("/api/chat", "m", "", b'{"model":"m"}', stream=False)
EMBED = NativeCall("/api/embed", "m", "", b'{"model":"m","input":["a"]}', stream=False)

Ask = Callable[..., Ollama]


class Collector:
    """Takes records on the short way."""

    def __init__(self, records: list[Record]) -> None:
        self._records = records
        self.taken = 0
        self.drained = 0
        self.full = False

    def take(self, records: Sequence[Record]) -> bool:
        assert records
        self._records += records
        self.taken += len(records)
        return not self.full

    async def drain(self) -> None:
        self.drained += 1
        await asyncio.sleep(0)


@pytest.fixture(params=["in batches", "the short way"], autouse=True)
def short(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whoever reads gets the same, whichever way the records come."""
    monkeypatch.setattr(_Way, "short", request.param == "the short way")
    return _Way.short


class _Way:
    short = False


def drip(*records: bytes) -> Script:
    """A stream whose records arrive one by one."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        for record in records:
            await peer.send(chunk(record))
            await peer.received()
            for _ in range(5):  # whoever reads has its turn
                await asyncio.sleep(0)
        await peer.send(b"0\r\n\r\n")
        await peer.gone()

    return script


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """An Ollama at a URL, closed in the end."""
    opened: list[Ollama] = []

    async def close() -> None:
        for ollama in opened:
            await ollama.close()

    def ollama_at(url: str, **options: float) -> Ollama:
        defaults = {"connect_seconds": WITHIN, "first_byte_seconds": WITHIN, "idle_seconds": WITHIN}
        ollama = Ollama(UpstreamOptions(url, **{**defaults, **options}))  # type: ignore[arg-type]  # numbers all
        opened.append(ollama)
        return ollama

    yield ollama_at
    async with asyncio.timeout(WITHIN):
        await close()


async def read(ollama: Ollama, call: NativeCall) -> tuple[list[Record], GatewayError | None]:
    """Every record that came, and the error behind them."""
    records: list[Record] = []
    await ollama.start()
    outlet = Collector(records) if _Way.short else None
    async with asyncio.timeout(WITHIN), aclosing(ollama.answer(call, outlet=outlet)) as batches:
        try:
            async for batch in batches:
                assert batch
                records += batch
        except GatewayError as error:
            return records, error
    return records, None


def text(records: list[Record]) -> str:
    return "".join(record.message.content for record in records if record.message is not None)


async def test_a_stream_gives_its_records_and_the_last_one_is_done(serve: Serve, ask: Ask) -> None:
    server = await serve(answering(chunked(RECORD % b"a", RECORD % b"b", DONE)))

    records, error = await read(ask(server.url), STREAM)

    assert (text(records), [record.done for record in records], error) == ("ab", [False, False, True], None)
    assert server.requests[0].startswith(b"POST /api/chat HTTP/1.1\r\n")
    assert server.requests[0].endswith(b'\r\n\r\n{"model":"m","stream":true}')


async def test_records_that_arrive_together_come_together(serve: Serve, ask: Ask) -> None:
    server = await serve(answering(chunked(*[RECORD % b"a"] * 100, DONE)))
    ollama = ask(server.url)
    await ollama.start()

    async with aclosing(ollama.answer(STREAM)) as batches:
        sizes = [len(batch) async for batch in batches]

    assert sum(sizes) == 101
    assert len(sizes) <= 2


async def test_a_whole_answer_is_one_record(serve: Serve, ask: Ask) -> None:
    server = await serve(answering(whole(DONE)))

    records, error = await read(ask(server.url), WHOLE)

    assert (len(records), records[0].eval_count, error) == (1, 2, None)


async def test_an_answer_to_an_embedding_call_has_its_vectors(serve: Serve, ask: Ask) -> None:
    server = await serve(answering(chunked(b'{"model":"m","embeddings":[[0.5,1],[2,3]]}')))

    records, error = await read(ask(server.url), EMBED)

    assert error is None
    assert records[0].embeddings is not None
    assert [bytes(vector) for vector in records[0].embeddings] == [b"[0.5,1]", b"[2,3]"]
    assert server.requests[0].endswith(b"\r\n\r\n" + EMBED.body)


async def test_a_streamed_call_may_be_answered_by_one_object(serve: Serve, ask: Ask) -> None:
    """Ollama does so when it only loads or unloads a model."""
    server = await serve(answering(whole(DONE.strip())))

    records, error = await read(ask(server.url), STREAM)

    assert ([record.done for record in records], error) == ([True], None)


def recorded(name: str) -> tuple[bytes, list[str]]:
    response = json.loads((TRANSCRIPTS / f"{name}.json").read_text("utf-8"))["response"]
    return response["status"].removeprefix("HTTP/1.1 ").encode(), response["chunks"] or [response["body"]]


@pytest.mark.parametrize("name", ["chat-stream-warm", "chat-unicode", "chat-tool-call-stream", "chat-think", "generate-stream"])
async def test_recorded_streams_come_through(serve: Serve, ask: Ask, name: str) -> None:
    _, lines = recorded(name)
    server = await serve(answering(chunked(*(line.encode() for line in lines))))

    records, error = await read(ask(server.url), STREAM)

    assert (len(records), records[-1].done, error) == (len(lines), True, None)


async def test_c19_a_recorded_error_line_comes_behind_the_records_before_it(serve: Serve, ask: Ask) -> None:
    _, lines = recorded("runner-killed-stream")
    server = await serve(answering(chunked(*(line.encode() for line in lines))))

    records, error = await read(ask(server.url), STREAM)

    assert (len(records), type(error)) == (len(lines) - 1, UpstreamError)


async def test_c44_a_full_queue_is_overload(serve: Serve, ask: Ask) -> None:
    status, (body,) = recorded("queue-full")
    server = await serve(answering(whole(body.encode(), status.decode())))

    records, error = await read(ask(server.url), STREAM)

    assert (records, type(error)) == ([], Overloaded)


@pytest.mark.parametrize("call", [STREAM, WHOLE])
@pytest.mark.parametrize(
    ("response", "count", "error"),
    [
        pytest.param(whole(b'{"error":"model \'m\' not found"}', "404 Not Found"), 0, ModelNotFound, id="C44: no model"),
        pytest.param(whole(b"", "302 Found", b"Location: /x\r\n"), 0, UpstreamInvalidResponse, id="C16: a redirect"),
        pytest.param(whole(b"", "204 No"), 0, UpstreamInvalidResponse, id="no content"),
        pytest.param(whole(b"<html>\n", "502 Bad"), 0, UpstreamInvalidResponse, id="C44: HTML from a proxy"),
        pytest.param(whole(b"<html>\n"), 0, UpstreamInvalidResponse, id="C44: HTML under 200"),
        pytest.param(whole(b"[1]\n"), 0, UpstreamInvalidResponse, id="JSON of another shape"),
        pytest.param(whole(b'{"error":"it broke"}\n'), 0, UpstreamError, id="C19: an error under 200"),
        pytest.param(whole(b""), 0, UpstreamClosed, id="nothing"),
        pytest.param(whole(b"{}\n"), None, UpstreamClosed, id="C20: not done"),
        pytest.param(whole(DONE).removesuffix(b"\n"), 0, None, id="C17: FIN before the length"),
    ],
)
async def test_what_is_no_answer_is_an_error(
    serve: Serve, ask: Ask, call: NativeCall, response: bytes, count: int | None, error: type[GatewayError] | None
) -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(response)
        await peer.received()
        peer.close()

    server = await serve(once)

    records, caught = await read(ask(server.url), call)

    assert type(caught) is (error or UpstreamClosed)
    assert count is None or len(records) == count
    assert len(server.requests) == 1


async def test_c20_a_clean_end_without_done_is_a_cut_answer(serve: Serve, ask: Ask) -> None:
    server = await serve(answering(chunked(RECORD % b"a")))

    records, error = await read(ask(server.url), STREAM)

    assert (text(records), type(error)) == ("a", UpstreamClosed)


async def test_c17_a_cut_in_a_line_is_a_cut_and_no_bad_line(serve: Serve, ask: Ask) -> None:
    async def cut(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(RECORD % b"a" + b'{"mess'))
        await peer.received()
        peer.close()

    server = await serve(cut)

    records, error = await read(ask(server.url), STREAM)

    assert (text(records), type(error)) == ("a", UpstreamClosed)


async def test_records_and_done_in_one_read_are_one_batch(serve: Serve, ask: Ask) -> None:
    server = await serve(answering(chunked(RECORD % b"a", DONE)))
    ollama = ask(server.url)
    await ollama.start()

    async with aclosing(ollama.answer(STREAM)) as batches:
        sizes = [len(batch) async for batch in batches]

    assert sizes == [2]


@pytest.mark.parametrize("leave", [Peer.close, Peer.reset])
@pytest.mark.parametrize("tail", [b"", b"0\r\n"])
async def test_c17_done_is_believed_only_when_the_message_ends(
    serve: Serve, ask: Ask, leave: Callable[[Peer], None], tail: bytes
) -> None:
    async def cut(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(RECORD % b"a") + chunk(DONE) + tail)
        await peer.received()
        leave(peer)

    server = await serve(cut)

    records, error = await read(ask(server.url), STREAM)

    assert ([record.done for record in records], type(error)) == ([False], UpstreamClosed)


async def test_records_behind_done_are_ignored(serve: Serve, ask: Ask) -> None:
    server = await serve(answering(chunked(RECORD % b"a", DONE, RECORD % b"b", DONE, b'{"error":"late"}\n', b"garbage\n")))

    records, error = await read(ask(server.url), STREAM)

    assert (text(records), [record.done for record in records], error) == ("a", [False, True], None)


async def test_what_follows_done_has_a_bound(serve: Serve, ask: Ask) -> None:
    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(DONE))
        while True:
            await peer.send(chunk(RECORD % b"b"))

    server = await serve(endless)

    assert type((await read(ask(server.url), STREAM))[1]) is UpstreamInvalidResponse


async def test_a_bad_line_comes_behind_the_records_before_it(serve: Serve, ask: Ask) -> None:
    server = await serve(answering(chunked(RECORD % b"a" + RECORD % b"b" + b"garbage\n" + RECORD % b"c")))

    records, error = await read(ask(server.url), STREAM)

    assert (text(records), type(error)) == ("ab", UpstreamInvalidResponse)


@pytest.mark.parametrize("call", [STREAM, WHOLE])
async def test_c40_a_line_without_end_is_refused(serve: Serve, ask: Ask, call: NativeCall) -> None:
    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        while True:
            await peer.send(chunk(b"x" * 65536))

    server = await serve(endless)

    records, error = await read(ask(server.url, max_line_bytes=1_000_000), call)

    assert (records, type(error)) == ([], UpstreamInvalidResponse)
    await server.until(lambda server: server.closed == 1)
    assert server.sent < 20_000_000


async def test_the_first_byte_is_told_once_and_when_it_comes(serve: Serve, ask: Ask) -> None:
    async def slow(peer: Peer) -> None:
        await peer.request()
        told.append("asked")
        await peer.send(STREAM_HEAD + chunk(RECORD % b"a"))
        await read_one.wait()
        await peer.send(chunk(DONE) + b"0\r\n\r\n")

    told: list[str] = []
    read_one = asyncio.Event()
    server = await serve(slow)
    ollama = ask(server.url)
    await ollama.start()

    async with aclosing(ollama.answer(STREAM, on_first_byte=lambda: told.append("first"))) as batches:
        async for _ in batches:
            told.append("batch")
            read_one.set()

    assert told == ["asked", "first", "batch", "batch"]


def beginning(*, silent: bool = False) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        if not silent:
            await peer.send(STREAM_HEAD + chunk(RECORD % b"a"))

    return script


async def test_c26_closing_the_generator_stops_ollama(serve: Serve, ask: Ask) -> None:
    server = await serve(beginning())
    ollama = ask(server.url)
    await ollama.start()
    batches = ollama.answer(STREAM)
    await anext(batches)

    await batches.aclose()

    await server.until(lambda server: server.closed == 1)


@pytest.mark.parametrize("call", [STREAM, WHOLE])
async def test_c25_cancelling_the_reader_stops_ollama(serve: Serve, ask: Ask, call: NativeCall) -> None:
    server = await serve(beginning(silent=True))
    ollama = ask(server.url)
    reader = asyncio.get_running_loop().create_task(read(ollama, call))
    await server.until(lambda server: len(server.requests) == 1)

    reader.cancel()

    await server.until(lambda server: server.closed == 1)
    with pytest.raises(asyncio.CancelledError):
        await reader


async def test_a_generator_that_nobody_reads_sends_nothing(serve: Serve, ask: Ask) -> None:
    server = await serve(beginning())
    ollama = ask(server.url)
    await ollama.start()

    await ollama.answer(STREAM).aclose()

    assert server.opened == 0


async def test_c41_silence_is_a_timeout(serve: Serve, ask: Ask) -> None:
    silent, begun = await serve(beginning(silent=True)), await serve(beginning())

    none, first = await read(ask(silent.url, first_byte_seconds=0.1), STREAM)
    some, between = await read(ask(begun.url, idle_seconds=0.1), STREAM)

    assert (none, type(first), text(some), type(between)) == ([], UpstreamTimeout, "a", UpstreamTimeout)


async def test_a_call_with_tools_and_a_whole_answer_may_be_silent_for_longer(serve: Serve, ask: Ask) -> None:
    others_gave_up = asyncio.Event()

    async def until_others_gave_up(peer: Peer, begin: bytes, rest: bytes) -> None:
        await peer.request()
        await peer.send(begin)
        await others_gave_up.wait()
        await peer.send(rest)
        await peer.gone()

    begin, rest = STREAM_HEAD + chunk(RECORD % b"a"), chunk(DONE) + b"0\r\n\r\n"
    calling = ask((await serve(lambda peer: until_others_gave_up(peer, begin, rest))).url, idle_seconds=0.1)
    whole = ask((await serve(lambda peer: until_others_gave_up(peer, b"", chunked(DONE)))).url, first_byte_seconds=0.1)
    plain, silent = await serve(beginning()), await serve(beginning(silent=True))
    longer = [
        asyncio.create_task(read(*call)) for call in ((calling, msgspec.structs.replace(STREAM, tools=True)), (whole, WHOLE))
    ]

    _, between = await read(ask(plain.url, idle_seconds=0.1), STREAM)
    _, first = await read(ask(silent.url, first_byte_seconds=0.1), STREAM)
    _, never = await read(ask(silent.url, whole_seconds=0.1), WHOLE)
    others_gave_up.set()
    answers = await asyncio.gather(*longer)

    assert [type(error) for error in (between, first, never)] == [UpstreamTimeout] * 3
    assert [(records[-1].done, error) for records, error in answers] == [(True, None)] * 2


async def test_c30_a_reader_that_takes_nothing_stops_the_upstream_and_is_not_cut(serve: Serve, ask: Ask) -> None:
    line = RECORD % (b"x" * 1000)

    async def flood(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        for _ in range(1000):
            await peer.send(chunk(line) * 20)
        await peer.send(chunk(DONE) + b"0\r\n\r\n")

    server = await serve(flood)
    ollama = ask(server.url, idle_seconds=0.1)
    await ollama.start()
    count = 0

    async with aclosing(ollama.answer(STREAM)) as batches:
        count += len(await anext(batches))
        await asyncio.sleep(0.3)
        assert server.sent < 16_000_000
        async for batch in batches:
            assert len(batch) * len(line) <= MAX_BATCH_BYTES + len(line)
            count += len(batch)

    assert count == 20_001


async def test_c43_nothing_listens(free_port: int, ask: Ask) -> None:
    records, error = await read(ask(f"http://127.0.0.1:{free_port}"), STREAM)

    assert (records, type(error)) == ([], UpstreamUnavailable)
    assert str(free_port) not in str(error)


async def test_the_short_way_is_taken_by_all_but_the_end_of_an_answer(serve: Serve, ask: Ask) -> None:
    server = await serve(drip(*[RECORD % b"a"] * 5, DONE))
    ollama, records, batches = ask(server.url), list[Record](), list[Sequence[Record]]()
    outlet = Collector(records)
    await ollama.start()

    async with aclosing(ollama.answer(STREAM, outlet=outlet)) as answer:
        async for batch in answer:
            batches.append(batch)

    assert outlet.taken >= 3
    assert outlet.taken + sum(map(len, batches)) == 6
    assert batches[-1][-1].done


async def test_an_outlet_that_is_full_is_waited_for(serve: Serve, ask: Ask) -> None:
    server = await serve(drip(*[RECORD % b"a"] * 5, DONE))
    ollama, records = ask(server.url), list[Record]()
    outlet = Collector(records)
    outlet.full = True
    await ollama.start()

    async with aclosing(ollama.answer(STREAM, outlet=outlet)) as answer:
        rest = [record async for batch in answer for record in batch]

    assert text(records + rest) == "aaaaa"
    assert outlet.drained >= 1


@pytest.mark.parametrize("failure", [ZeroDivisionError("x"), Overloaded("Too much.")])
@pytest.mark.parametrize("place", ["take", "drain"])
async def test_what_an_outlet_raises_ends_the_answer_and_the_transfer(
    serve: Serve, ask: Ask, failure: Exception, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bool:
        raise failure

    server = await serve(drip(*[RECORD % b"a"] * 200, DONE))
    ollama = ask(server.url)
    outlet = Collector([])
    outlet.full = True
    monkeypatch.setattr(outlet, place, fails)
    await ollama.start()

    with pytest.raises(type(failure)):
        async with asyncio.timeout(WITHIN), aclosing(ollama.answer(STREAM, outlet=outlet)) as answer:
            async for _ in answer:
                pass
