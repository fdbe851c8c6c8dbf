"""What every request has in common."""

import asyncio
import gc
import json
from collections import Counter

import pytest
from serving import AUTH, chat_request, serving

from tornado_gateway.testing import FakeOllama

PLUGINS = [AUTH, {"rate_limit": {"requests_per_minute": None}}, "cache"]


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, *, stream: bool) -> None:
    body = {"model": "llama3.2", "stream": stream, "messages": [{"role": "user", "content": f"{number}"}]}
    writer.write(chat_request(json.dumps(body).encode()))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head
    if stream:
        await reader.readuntil(b"\r\n0\r\n\r\n")
    else:
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_leaves_nothing_to_the_garbage_collector(stream: bool) -> None:
    """Cycles would cost a tenth of a request's CPU, since the collector looks through the whole process for them."""
    async with FakeOllama() as ollama, serving(ollama.url, plugins=PLUGINS) as served:
        connection = await served.connect()
        for number in range(5):
            await ask(*connection, number, stream=stream)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for number in range(20):
                await ask(*connection, 100 + number, stream=stream)
            gc.collect()
            left = Counter(type(item).__name__ for item in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            connection[1].close()

        assert not {name: count for name, count in left.items() if count >= 20}
