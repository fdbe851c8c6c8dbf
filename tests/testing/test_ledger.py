"""What the ledger says of those who came, stayed and left."""

import time
from collections.abc import AsyncIterator

import pytest
from rawpeer import Peer, call, chat

from tornado_gateway.testing import FakeOllama, Ledger, cut, hang, say


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


async def test_a_whole_answer_is_accounted_for(ollama: FakeOllama) -> None:
    before = time.monotonic()
    await call(ollama.port, "POST", "/api/chat?x=1", chat("Hello", stream=False), headers="X-Own: a\r\nX-Own: b\r\n")
    await ollama.ledger.wait_for(lambda ledger: ledger.connections_closed == 1)

    entry, connection = ollama.ledger.last, ollama.ledger.connections[0]
    assert (entry.method, entry.path, entry.status, entry.answered) == ("POST", "/api/chat", 200, True)
    assert entry.headers["x-own"] == "a, b"
    assert entry.body == chat("Hello", stream=False)
    assert entry.model == "llama3.2"
    assert entry.left_at is None
    assert before < entry.arrived_at <= (entry.first_byte_at or 0) <= (entry.ended_at or 0) < time.monotonic()
    assert (connection.closed_by, connection.how, connection.requests) == ("peer", "fin", 1)
    assert connection.bytes_sent == entry.bytes_sent > 0


@pytest.mark.parametrize("how", ["fin", "rst", "half"])
async def test_a_peer_that_leaves_in_mid_stream_is_noticed_at_once(ollama: FakeOllama, how: str) -> None:
    ollama.next(hang(after_records=2))
    async with Peer(ollama.port) as peer:
        peer.ask("POST", "/api/chat", chat())
        for _ in range(2):
            # What stays unread at a close makes the kernel send RST in the place of FIN.
            await peer.reader.readuntil(b'"done":false}\n\r\n')

        left = time.monotonic()
        if how == "rst":
            peer.reset()
        elif how == "half":
            peer.writer.write_eof()
        else:
            peer.writer.close()
        entry = await ollama.ledger.wait_for(lambda ledger: not ledger.in_flight and ledger.last)

    assert 0 <= entry.left_at - left < 0.1
    assert entry.answered is False
    assert ollama.ledger.connections[0].how == ("rst" if how == "rst" else "fin")


async def test_a_stray_byte_does_not_hide_that_the_peer_left(ollama: FakeOllama) -> None:
    ollama.next(hang())
    async with Peer(ollama.port) as peer:
        peer.ask("POST", "/api/chat", chat())
        peer.send(b"x")
        await ollama.ledger.wait_for(lambda ledger: ledger.in_flight)

    await ollama.ledger.wait_for(lambda ledger: ledger.last.left_at)


async def test_an_answer_that_is_cut_on_purpose_is_neither_answered_nor_left(ollama: FakeOllama) -> None:
    ollama.next(cut(after_records=1))
    async with Peer(ollama.port) as peer:
        peer.ask("POST", "/api/chat", chat())
        await peer.rest()

    entry = await ollama.ledger.wait_for(lambda ledger: not ledger.in_flight and ledger.last)
    assert (entry.answered, entry.left_at, ollama.ledger.connections[0].closed_by) == (False, None, "server")


async def test_connections_that_ask_nothing_are_counted(ollama: FakeOllama) -> None:
    async with Peer(ollama.port):
        await ollama.ledger.wait_for(lambda ledger: ledger.open_connections == 1)
    await ollama.ledger.wait_for(lambda ledger: ledger.open_connections == 0)

    assert (ollama.ledger.connections_opened, ollama.ledger.connections_closed, ollama.ledger.requests_seen) == (1, 1, 0)


async def test_the_most_that_were_at_work_together_is_kept(ollama: FakeOllama) -> None:
    ollama.script(hang(), times=3)
    async with Peer(ollama.port) as one, Peer(ollama.port) as two, Peer(ollama.port) as three:
        for peer in (one, two, three):
            peer.ask("POST", "/api/chat", chat())
        await ollama.ledger.wait_for(lambda ledger: ledger.in_flight == 3)
    await ollama.ledger.wait_for(lambda ledger: ledger.in_flight == 0)

    assert ollama.ledger.max_in_flight == 3


async def test_waiting_has_a_limit_and_tells_what_was_seen(ollama: FakeOllama) -> None:
    await call(ollama.port, "GET", "/api/tags")

    with pytest.raises(TimeoutError, match="GET /api/tags"):
        await ollama.ledger.wait_for(lambda ledger: ledger.requests_seen == 2, timeout=0.01)


async def test_a_wrong_question_is_raised_to_the_one_who_waits(ollama: FakeOllama) -> None:
    with pytest.raises(LookupError):
        await ollama.ledger.wait_for(lambda ledger: ledger.last)


async def test_clearing_keeps_what_is_open(ollama: FakeOllama) -> None:
    ollama.next(say("Hi."), hang())
    await call(ollama.port, "POST", "/api/chat", chat())
    async with Peer(ollama.port) as peer:
        peer.ask("POST", "/api/chat", chat())
        await ollama.ledger.wait_for(lambda ledger: ledger.in_flight == 1 and ledger.open_connections == 1)
        ollama.ledger.clear()

        assert (ollama.ledger.requests_seen, len(ollama.ledger.requests), ollama.ledger.open_connections) == (1, 1, 1)
    await ollama.ledger.wait_for(lambda ledger: ledger.in_flight == 0 and ledger.open_connections == 0)


def test_it_is_bounded_in_entries_but_counts_on() -> None:
    ledger = Ledger(max_entries=3)
    connection = ledger.opened("127.0.0.1:1")
    for _ in range(10):
        ledger.ended(ledger.arrived(connection, "GET", "/", {}, b""))

    assert (len(ledger.requests), ledger.requests_seen, ledger.requests[0].number) == (3, 10, 8)


def test_its_plain_form_has_the_bodies() -> None:
    ledger = Ledger()
    ledger.arrived(ledger.opened("127.0.0.1:1"), "POST", "/api/chat", {}, b'{"a":1}')

    assert ledger.as_json()["requests"][0]["body"] == {"a": 1}
    assert ledger.as_json()["in_flight"] == 1
