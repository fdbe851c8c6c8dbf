"""P60, P61: responses of Ollama and requests of clients, mutated and cut anywhere, against the engine and a live gateway."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from faults.deep import examples
from faults.mutating import PLACES, corpus, cut, mutated
from faults.oracles import Heard, until
from faults.strict import check_honest, responses
from hypothesis import given
from serving import serving

from tornado_gateway.testing import FakeOllama
from tornado_gateway.upstream.response import ResponseReader

STATUSES = {0, 200, 204, 400, 401, 403, 404, 405, 413, 415, 431}
"""What a request may be answered with while Ollama is well: nothing of 500 and over; 0 is a close behind `100 Continue`."""


@dataclass
class Read:
    status: int
    body: bytes
    ended: bool
    refused: bool


def read(parts: list[bytes]) -> Read:
    reader, body = ResponseReader(), b""
    for part in parts:
        reader.feed(part)
        body += b"".join(reader.pieces)
        reader.pieces.clear()
        if reader.ended or reader.fault is not None:
            break
    return Read(reader.status, body, reader.ended, reader.fault is not None)


def check_response(data: bytes, places: set[int]) -> None:
    whole, pieces = read([data]), read(cut(data, places))

    assert pieces == whole
    assert not (whole.ended and whole.refused)


@examples(250, 1_000_000)
@given(mutated("responses"), PLACES)
def test_p61_an_answer_is_read_alike_however_it_is_cut_and_never_fails_otherwise(data: bytes, places: set[int]) -> None:
    check_response(data, places)


@pytest.mark.parametrize("name", corpus("responses"))
def test_p61_every_response_of_the_corpus_is_read_alike_in_single_bytes(name: str) -> None:
    data = corpus("responses")[name]

    check_response(data, set(range(len(data))))


class Live:
    """A gateway and its Ollama in a thread of their own, for tests that are not coroutines."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long it waits for the rest of a request."""
        self.heard = Heard()
        self._seconds = seconds
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Live":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert self._failure is None, self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # told where the thread is awaited
            self._failure = error

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = {"body_seconds": self._seconds, "keepalive_seconds": self._seconds, "max_body_bytes": 4000}
        with self.heard.listening():
            async with FakeOllama() as self.ollama, serving(self.ollama.url, server=server) as served:
                self.port, self.gateway = served.port, served.gateway
                self._ready.set()
                await self._stop.wait()
                await until(lambda: not served.gateway.services.at_work, 2)

    def dispatched(self) -> int:
        return len(self.ollama.ledger.inference)

    def exchange(self, parts: list[bytes]) -> tuple[bytes, bool]:
        """Everything that comes back until the gateway closes, and whether it closed with a reset, which may throw answers away."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            found, reset = b"", False
            try:
                for part in parts:
                    client.sendall(part)
                while data := client.recv(65536):
                    found += data
            except ConnectionError:
                reset = True  # refused, and closed while we still sent
        return found, reset


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """What is in ruins mostly waits for bytes that never come: it is not to wait for long."""
    with Live(0.15) as running:
        yield running


@pytest.fixture(scope="module")
def patient() -> Iterator[Live]:
    with Live(10) as running:
        yield running


def check_request(live: Live, data: bytes, places: set[int]) -> None:
    before = live.dispatched()
    live.heard.records.clear()
    raw, reset = live.exchange(cut(data, places))

    answers = responses(raw, *methods(data))

    for answer in answers:
        assert answer.status in STATUSES
        check_honest(answer)
    assert reset or live.dispatched() - before <= sum(answer.status == 200 for answer in answers)
    assert live.heard.tracebacks(()) == []


def methods(data: bytes) -> list[str]:
    """The head of a HEAD request is answered without a body, which a parser must be told."""
    return ["HEAD" if line.startswith(b"HEAD ") else "GET" for line in data.split(b"\r\n") if b" HTTP/1." in line]


@examples(60, 100_000)
@given(data=mutated("requests"), places=PLACES)
def test_p61_a_request_in_ruins_gets_an_honest_answer_or_none(live: Live, data: bytes, places: set[int]) -> None:
    check_request(live, data, places)


@pytest.mark.parametrize("name", corpus("requests"))
def test_p60_a_request_of_the_corpus_means_the_same_in_single_bytes(patient: Live, name: str) -> None:
    data = corpus("requests")[name]
    check_request(patient, data, set(range(len(data))))

    cut_up, whole = [told(patient.exchange(parts)[0], data) for parts in (cut(data, set(range(len(data)))), [data])]

    assert cut_up == whole


def told(raw: bytes, data: bytes) -> list[Any]:
    """What was answered, without ids, times and the words of the model."""
    found = responses(raw, *methods(data))
    return [(answer.status, answer.headers.get("content-type"), answer.error and json.dumps(answer.error)) for answer in found]
