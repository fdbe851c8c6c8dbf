"""C30, C31 and back-pressure: a reader that is slow costs little, and one that takes nothing is cut off."""

import asyncio
import json
import socket

from faults.oracles import Served, chat_request, serving

from tornado_gateway.testing import Behaviour, FakeOllama

BODY = {"model": "llama3.2", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
WORD = "x" * 1000
FLOOD = Behaviour(pieces=[WORD] * 30_000)
"""30 MB as fast as they are taken."""


def slow_client(served: Served) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    client.connect(("127.0.0.1", served.port))
    client.sendall(chat_request(json.dumps(BODY).encode(), more="Connection: close\r\n"))
    return client


async def test_c30_a_reader_that_takes_nothing_is_cut_off_and_ollama_with_it() -> None:
    async with FakeOllama() as ollama, serving(ollama.url, server={"write_stall_seconds": 0.5}) as served:
        ollama.next(FLOOD)
        client = slow_client(served)

        await ollama.ledger.wait_for(lambda ledger: ledger.inference and ledger.inference[0].left_at is not None, timeout=10)
        await asyncio.wait_for(served.gateway.services.idle.wait(), 2)

        # What the kernel's buffers hold on both sides, and little more: nothing piles up in the gateway.
        assert ollama.ledger.inference[0].bytes_sent < 20_000_000
        client.close()


async def test_c31_a_reader_that_is_slow_but_alive_gets_everything() -> None:
    server, upstream = {"write_stall_seconds": 0.5}, {"idle_seconds": 0.5}
    async with FakeOllama() as ollama, serving(ollama.url, server=server, upstream=upstream) as served:
        ollama.next(Behaviour(pieces=[WORD] * 6_000))
        client = slow_client(served)

        answer = await asyncio.to_thread(read_slowly, client)

        assert answer.endswith(b"0\r\n\r\n")
        assert answer.count(WORD.encode()) == 6_000


def read_slowly(client: socket.socket) -> bytes:
    """About 3 MB/s, with pauses shorter than the limits: well below the pace at which Ollama could send."""
    import time

    parts = []
    with client:
        while part := client.recv(64 * 1024):
            parts.append(part)
            if len(parts) % 8 == 0:
                time.sleep(0.02)
    return b"".join(parts)


async def test_a_slow_reader_does_not_slow_others_down() -> None:
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        ollama.next(FLOOD)
        client = slow_client(served)
        await ollama.ledger.wait_for(lambda ledger: ledger.inference)

        for _ in range(20):
            answer = await served.raw(
                chat_request(json.dumps({**BODY, "stream": False}).encode(), more="Connection: close\r\n")
            )
            assert b"200 OK" in answer

        client.close()
