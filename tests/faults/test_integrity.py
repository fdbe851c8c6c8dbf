"""C16 to C24 and heartbeats: nobody can take a cut answer for a whole one."""

import asyncio
import json
from typing import Any

import pytest
from faults.oracles import AUTH, Served, chat_request, serving

from tornado_gateway.testing import Behaviour, FakeOllama, cut, error_line, fail, hang, say

BODY = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}
TEXT = "one two three four five six"


class Answer:
    """A raw answer, read to the end of the connection."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def events(self) -> list[Any]:
        lines = self.body.decode().split("\n")
        return [json.loads(line[6:]) if line != "data: [DONE]" else "[DONE]" for line in lines if line.startswith("data: ")]

    @property
    def terminated(self) -> bool:
        return self.body.endswith(b"0\r\n\r\n")

    @property
    def error(self) -> Any:
        return json.loads(self.body)["error"]


async def ask(served: Served, *, stream: bool = True, more: str = "") -> Answer:
    body = json.dumps({**BODY, "stream": stream}).encode()
    return Answer(await served.raw(chat_request(body, more=f"Connection: close\r\n{more}")))


BROKEN_AFTER_OUTPUT = {
    "C17 FIN in mid answer": cut(after_records=2, text=TEXT),
    "C18 RST in mid answer": cut(after_records=2, reset=True, text=TEXT),
    "C17 no zero chunk": Behaviour(text=TEXT, framing="unterminated", tokens_per_second=200),
    "C19 an error line": error_line(2, text=TEXT),
    "C20 no done": Behaviour(text=TEXT, without_done=True),
    "C40 a bad chunk": Behaviour(text=TEXT, framing="bad_chunk", tokens_per_second=200),
}


@pytest.mark.parametrize("case", BROKEN_AFTER_OUTPUT)
async def test_c17_to_c20_a_stream_that_breaks_is_seen_to_be_broken(case: str) -> None:
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[AUTH, {"cache": {"apply_to": "all"}}]) as served:
        ollama.next(BROKEN_AFTER_OUTPUT[case])
        ollama.next(say(TEXT))

        broken, whole = await ask(served), await ask(served)

        assert broken.status == 200
        assert broken.events[0]["choices"][0]["delta"]["content"]
        assert broken.events[-1]["error"]["code"] in ("upstream_closed", "upstream_error", "upstream_invalid_response")
        assert all(not event.get("choices") or event["choices"][0]["finish_reason"] is None for event in broken.events)
        assert not broken.terminated
        # C24: nothing of it was kept.
        assert whole.headers["x-cache"] == "miss"
        assert whole.events[-1] == "[DONE]"
        assert whole.terminated


BROKEN_BEFORE_OUTPUT = {
    "C22 the POST is read and the connection dies": (cut(after_bytes=0), 502, "upstream_closed"),
    "C44 500": (fail(), 502, "upstream_error"),
    "C44 503 queue full": (
        fail(503, "server busy, please try again.  maximum pending requests exceeded"),
        503,
        "overloaded",
    ),
    "C44 999": (Behaviour(raw=b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"), 502, "upstream_invalid_response"),
    "C44 HTML": (
        Behaviour(raw=b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"),
        502,
        "upstream_invalid_response",
    ),
    "C16 a redirect": (Behaviour(redirect="http://127.0.0.1:9/"), 502, "upstream_invalid_response"),
    "C17 no framing": (Behaviour(text=TEXT, framing="close"), 502, "upstream_invalid_response"),
    "C04 both framings": (Behaviour(text=TEXT, framing="both"), 502, "upstream_invalid_response"),
    "C19 an error line first": (error_line(0, text=TEXT), 502, "upstream_error"),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("case", BROKEN_BEFORE_OUTPUT)
async def test_c16_to_c22_what_breaks_before_output_has_its_own_status_and_is_sent_once(case: str, stream: bool) -> None:
    behaviour, status, code = BROKEN_BEFORE_OUTPUT[case]
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        ollama.next(behaviour)

        answer = await ask(served, stream=stream)

        assert (answer.status, answer.error["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-should-retry"] == ("true" if status == 503 else "false")
        assert ("retry-after" in answer.headers) == (status == 503)
        assert len(ollama.ledger.inference) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_c41_silence_before_the_first_byte_is_a_504(stream: bool) -> None:
    async with FakeOllama() as ollama, serving(ollama.url, upstream={"first_byte_seconds": 0.3}) as served:
        ollama.next(hang())

        answer = await ask(served, stream=stream)

        assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
        assert answer.headers["x-should-retry"] == "false"
        await ollama.ledger.wait_for(lambda ledger: ledger.inference[0].left_at is not None)


async def test_c41_silence_between_tokens_is_a_stream_error() -> None:
    async with FakeOllama() as ollama, serving(ollama.url, upstream={"idle_seconds": 0.3}) as served:
        ollama.next(hang(after_records=2, text=TEXT))

        answer = await ask(served)

        assert answer.events[-1]["error"]["code"] == "upstream_timeout"
        assert not answer.terminated


async def test_c43_an_ollama_that_is_down_is_a_503_and_one_that_comes_back_is_used() -> None:
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        await ollama.stop()

        down = await ask(served)
        await ollama.start()
        async with asyncio.timeout(5):
            while (up := await ask(served)).status != 200:
                assert up.error["code"] == "upstream_unavailable"
                await asyncio.sleep(float(up.headers["retry-after-ms"]) / 1000)

        assert (down.status, down.error["code"]) == (503, "upstream_unavailable")
        assert down.headers["retry-after"] == "1"
        assert up.terminated


async def test_the_express_programs_status_for_failures_can_be_had() -> None:
    async with FakeOllama() as ollama, serving(ollama.url, server={"upstream_failure_status": 500}) as served:
        ollama.next(fail())

        answer = await ask(served)

        assert (answer.status, answer.error["code"]) == (500, "upstream_error")


async def test_heartbeats_come_while_the_model_loads() -> None:
    server = {"headers_after_seconds": 0.1, "heartbeat_seconds": 0.1}
    async with FakeOllama() as ollama, serving(ollama.url, server=server) as served:
        ollama.next(say("at last", first_byte_seconds=0.5))

        answer = await ask(served)

        assert answer.body.count(b"\r\n: ") >= 2
        assert answer.events[-1] == "[DONE]"
        assert answer.terminated


async def test_an_error_after_the_head_is_a_stream_error() -> None:
    server = {"headers_after_seconds": 0.05, "heartbeat_seconds": 1}
    async with FakeOllama() as ollama, serving(ollama.url, server=server) as served:
        ollama.next(Behaviour(status=500, error="out of memory", first_byte_seconds=0.4))

        answer = await ask(served)

        assert answer.status == 200
        assert answer.events[-1]["error"]["code"] == "upstream_error"
        assert not answer.terminated


async def test_a_call_that_is_not_streamed_gets_no_heartbeat() -> None:
    server = {"headers_after_seconds": 0.05, "heartbeat_seconds": 0.05}
    async with FakeOllama() as ollama, serving(ollama.url, server=server) as served:
        ollama.next(Behaviour(status=500, error="out of memory", first_byte_seconds=0.3))

        assert (await ask(served, stream=False)).status == 502
