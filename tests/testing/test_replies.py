"""Every way to answer wrongly, as a peer sees it on the socket."""

from collections.abc import AsyncIterator

import pytest
from rawpeer import Peer, call, chat

from tornado_gateway.testing import Behaviour, FakeOllama, cut, error_line, fail, hang, say


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


async def raw(ollama: FakeOllama, behaviour: Behaviour, **request: object) -> bytes:
    """All bytes of one answer, until the server ends the connection."""
    ollama.next(behaviour)
    async with Peer(ollama.port) as peer:
        peer.ask("POST", "/api/chat", chat(**request))  # type: ignore[arg-type]  # options of a chat
        return await peer.rest()


async def test_each_record_is_a_chunk(ollama: FakeOllama) -> None:
    ollama.next(say("one two three"))

    answer = await call(ollama.port, "POST", "/api/chat", chat())

    assert [record["message"]["content"] for record in answer.records()] == ["one", " two", " three", ""]
    assert len(answer.chunks) == 4
    assert answer.records()[-1]["done"] is True


async def test_text_of_any_kind_comes_back_as_it_was_given(ollama: FakeOllama) -> None:
    text = "<b>&\u2028\x85 naïve 日本 😀\r\n\ttab\x00 \x7f  two  spaces"
    ollama.next(say(text), say(text))

    streamed = await call(ollama.port, "POST", "/api/chat", chat())
    whole = await call(ollama.port, "POST", "/api/chat", chat(stream=False))

    assert streamed.text() == whole.text() == text
    assert b"\\u003cb\\u003e\\u0026\\u2028" in whole.body
    assert "\x85".encode() in whole.body


async def test_a_scripted_error_has_its_status_and_text(ollama: FakeOllama) -> None:
    ollama.next(fail(503, "server busy"))

    answer = await call(ollama.port, "POST", "/api/chat", chat())

    assert (answer.status, answer.json()) == (503, {"error": "server busy"})


async def test_an_error_line_ends_a_stream_that_began_well(ollama: FakeOllama) -> None:
    ollama.next(error_line(2, text="one two three four"))

    answer = await call(ollama.port, "POST", "/api/chat", chat())

    assert answer.status == 200
    assert answer.records()[:2][-1]["message"]["content"] == " two"
    assert answer.records()[2:] == [{"error": "an error was encountered while running the model: unexpected EOF"}]


async def test_an_error_without_a_stream_is_a_500(ollama: FakeOllama) -> None:
    ollama.next(error_line(2))

    answer = await call(ollama.port, "POST", "/api/chat", chat(stream=False))

    assert answer.status == 500


async def test_a_stream_may_be_cut_after_a_record(ollama: FakeOllama) -> None:
    data = await raw(ollama, cut(after_records=2, text="one two three"))

    assert data.count(b'"done":false') == 2
    assert not data.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("count", [0, 1, 20, 150, 300])
async def test_an_answer_may_be_cut_at_any_byte(ollama: FakeOllama, count: int) -> None:
    assert len(await raw(ollama, cut(after_bytes=count, text="one two three"))) == count


async def test_a_cut_may_be_a_reset(ollama: FakeOllama) -> None:
    with pytest.raises(ConnectionResetError):
        await raw(ollama, cut(after_records=1, reset=True))


async def test_a_hang_before_the_head_sends_nothing_and_notices_the_peer_leaving(ollama: FakeOllama) -> None:
    ollama.next(hang())

    async with Peer(ollama.port) as peer:
        peer.ask("POST", "/api/chat", chat())
        await ollama.ledger.wait_for(lambda ledger: ledger.in_flight)

    entry = await ollama.ledger.wait_for(lambda ledger: not ledger.in_flight and ledger.last)
    assert entry.bytes_sent == 0
    assert entry.left_at is not None


async def test_a_hang_after_the_head_sends_the_head_alone(ollama: FakeOllama) -> None:
    ollama.next(hang(after_records=0))

    async with Peer(ollama.port) as peer:
        peer.ask("POST", "/api/chat", chat())
        head = await peer.reader.readuntil(b"\r\n\r\n")

        assert b"chunked" in head
        assert ollama.ledger.last.records_sent == 0
        assert ollama.ledger.in_flight == 1


async def test_a_hang_after_records_sends_these(ollama: FakeOllama) -> None:
    ollama.next(hang(after_records=2, text="one two three"))

    async with Peer(ollama.port) as peer:
        peer.ask("POST", "/api/chat", chat())
        await ollama.ledger.wait_for(lambda ledger: ledger.requests and ledger.last.records_sent == 2)

        assert ollama.ledger.in_flight == 1


async def test_the_closing_record_may_be_missing_from_a_body_that_ends_well(ollama: FakeOllama) -> None:
    ollama.next(say("one two", without_done=True), say("one two", without_done=True))

    streamed = await call(ollama.port, "POST", "/api/chat", chat())
    whole = await call(ollama.port, "POST", "/api/chat", chat(stream=False))

    assert [record["done"] for record in streamed.records()] == [False, False]
    assert whole.json()["done"] is False
    assert "done_reason" not in whole.json()


async def test_records_may_be_split_over_chunks(ollama: FakeOllama) -> None:
    ollama.next(say("one two three", chunk_bytes=50))

    answer = await call(ollama.port, "POST", "/api/chat", chat())

    assert {len(chunk) for chunk in answer.chunks[:-1]} == {50}
    assert answer.text() == "one two three"


async def test_records_may_share_a_chunk(ollama: FakeOllama) -> None:
    ollama.next(say("one two three", records_per_chunk=3))

    answer = await call(ollama.port, "POST", "/api/chat", chat())

    assert [chunk.count(b"\n") for chunk in answer.chunks] == [3, 1]


async def test_the_last_line_may_lack_its_end(ollama: FakeOllama) -> None:
    ollama.next(say("one", without_last_newline=True))

    answer = await call(ollama.port, "POST", "/api/chat", chat())

    assert answer.chunks[0].endswith(b"\n")
    assert answer.chunks[-1].endswith(b"}")


async def test_records_may_be_given_verbatim(ollama: FakeOllama) -> None:
    ollama.next(Behaviour(records=[b"not json\n", "text\n", {"a": "<"}]))

    answer = await call(ollama.port, "POST", "/api/chat", chat())

    assert answer.chunks == [b"not json\n", b"text\n", b'{"a":"\\u003c"}\n']


async def test_an_answer_may_be_raw_bytes(ollama: FakeOllama) -> None:
    assert await raw(ollama, Behaviour(raw=b"HTTP/1.1 999 Odd\r\n\r\nx")) == b"HTTP/1.1 999 Odd\r\n\r\nx"


async def test_an_answer_may_be_a_redirect(ollama: FakeOllama) -> None:
    ollama.next(Behaviour(redirect="http://127.0.0.1:1/api/chat"))

    answer = await call(ollama.port, "POST", "/api/chat", chat())

    assert (answer.status, answer.headers["location"]) == (307, "http://127.0.0.1:1/api/chat")


async def test_bytes_may_follow_a_whole_answer(ollama: FakeOllama) -> None:
    ollama.next(say("Hi.", trailing=b"HTTP/1.1 200 OK\r\n", end="close"))

    async with Peer(ollama.port) as peer:
        await peer.call("POST", "/api/chat", chat())

        assert await peer.rest() == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("framing", "part"),
    [
        ("both", b"Content-Length: 5\r\n"),
        ("close", b"Connection: close\r\n"),
        ("bad_chunk", b"\r\nzz\r\n"),
        ("length", b"Content-Length: "),
    ],
)
async def test_framing_may_be_of_every_kind(ollama: FakeOllama, framing: str, part: bytes) -> None:
    data = await raw(ollama, say("one two", framing=framing, end="close"))

    assert part in data
    assert b'"content":" two"' in data


@pytest.mark.parametrize(("framing", "difference"), [("too_long", 100), ("too_short", -10)])
async def test_a_length_may_lie(ollama: FakeOllama, framing: str, difference: int) -> None:
    data = await raw(ollama, say("one two", framing=framing, end="close"), stream=False)

    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.partition(b"Content-Length: ")[2].split()[0])
    assert length - len(body) == difference


async def test_an_unterminated_body_lacks_its_last_chunk(ollama: FakeOllama) -> None:
    data = await raw(ollama, say("one", framing="unterminated"))

    assert b'"done":true' in data
    assert not data.endswith(b"0\r\n\r\n")
    assert ollama.ledger.last.answered is False


async def test_bytes_may_come_in_drops(ollama: FakeOllama) -> None:
    ollama.next(say("one two", write_bytes=10, write_seconds=0.001))

    answer = await call(ollama.port, "POST", "/api/chat", chat())

    assert answer.text() == "one two"
    assert ollama.ledger.last.records_sent == 3


async def test_tokens_come_at_their_pace_streamed_and_whole(ollama: FakeOllama) -> None:
    """Twenty tokens at 400 a second take 50 ms; whole answers wait as long before their first byte."""
    ollama.next(*[Behaviour(tokens=21, tokens_per_second=400)] * 2)

    await call(ollama.port, "POST", "/api/chat", chat())
    streamed = ollama.ledger.last
    await call(ollama.port, "POST", "/api/chat", chat(stream=False))
    whole = ollama.ledger.last

    assert streamed.last_byte_at - streamed.first_byte_at > 0.045  # type: ignore[operator]  # both were sent
    assert whole.first_byte_at - whole.arrived_at > 0.045  # type: ignore[operator]


async def test_silence_before_the_first_byte_is_kept(ollama: FakeOllama) -> None:
    ollama.next(*[say("Hi.", first_byte_seconds=0.03)] * 2)

    for stream in (True, False):
        await call(ollama.port, "POST", "/api/chat", chat(stream=stream))
        entry = ollama.ledger.last
        assert 0.025 < entry.first_byte_at - entry.arrived_at < 0.5  # type: ignore[operator]


async def test_a_burst_is_one_write(ollama: FakeOllama) -> None:
    ollama.next(Behaviour(tokens=200, burst=True))

    answer = await call(ollama.port, "POST", "/api/chat", chat())

    assert len(answer.records()) == 201
    assert ollama.ledger.last.first_byte_at == ollama.ledger.last.last_byte_at


async def test_a_reader_that_stalls_holds_the_writer_back(ollama: FakeOllama) -> None:
    """What the peer does not read stays ungenerated: the ledger's bytes stop growing."""
    ollama.next(Behaviour(tokens=200_000, tokens_per_second=1e9))

    async with Peer(ollama.port) as peer:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport
        peer.ask("POST", "/api/chat", chat())
        await ollama.ledger.wait_for(lambda ledger: ledger.requests and ledger.last.bytes_sent > 100_000)
        with pytest.raises(TimeoutError):
            await ollama.ledger.wait_for(lambda ledger: ledger.last.bytes_sent > 20_000_000, timeout=0.3)

        assert ollama.ledger.in_flight == 1
