import asyncio

from serving import serving

from tornado_gateway.testing import FakeOllama

PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def test_beyond_its_cap_a_connection_is_told_why_and_closed() -> None:
    async with FakeOllama() as ollama, serving(ollama.url, server={"max_connections": 1}) as served:
        _, kept = await served.connect()
        await asyncio.sleep(0)  # the first is accepted first
        async with asyncio.timeout(5):
            while not (answer := await served.raw(PROBE)).startswith(b"HTTP/1.1 503 "):
                pass
        kept.close()

        assert b'"code":"overloaded"' in answer
        assert b"\r\nRetry-After: 1\r\n" in answer
        async with asyncio.timeout(5):
            while not (await served.raw(PROBE)).startswith(b"HTTP/1.1 200 "):
                pass
