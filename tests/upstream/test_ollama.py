from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from upstream.raw import WITHIN, Peer, Serve, answering, chunked, whole

from tornado_gateway.errors import ModelNotFound, UpstreamClosed, UpstreamInvalidResponse, UpstreamUnavailable
from tornado_gateway.upstream import Ollama, UpstreamOptions

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"


def recorded(name: str) -> bytes:
    response = json.loads((TRANSCRIPTS / f"{name}.json").read_text("utf-8"))["response"]
    return (response["body"] or "".join(response["chunks"])).encode()


async def test_its_version(serve: Serve) -> None:
    server = await serve(answering(whole(recorded("version"))))

    async with Ollama(UpstreamOptions(server.url)) as ollama:
        assert await ollama.version() == "0.0.0"

    assert server.requests == [
        b"GET /api/version HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n\r\n" % server.port
    ]


async def test_its_models(serve: Serve) -> None:
    server = await serve(answering(whole(recorded("tags")), whole(recorded("ps-loaded"))))

    async with Ollama(UpstreamOptions(server.url)) as ollama:
        models, loaded = await ollama.tags(), await ollama.ps()

    assert (models[1].name, models[1].families) == ("all-minilm:l6", ("bert",))
    assert models[1].digest.startswith("3916e706")
    assert loaded == ["smollm2:135m", "all-minilm:l6"]


async def test_what_a_model_can_do(serve: Serve) -> None:
    server = await serve(answering(chunked(recorded("show"))))

    async with Ollama(UpstreamOptions(server.url)) as ollama:
        shown = await ollama.show("smollm2:135m")

    assert (shown.capabilities, shown.context_length) == (frozenset({"completion"}), 8192)
    assert shown.stop == ("<|im_start|>", "<|im_end|>")
    assert server.requests[0].endswith(b'\r\n\r\n{"model":"smollm2:135m"}')


async def test_a_model_that_it_lacks(serve: Serve) -> None:
    server = await serve(answering(whole(recorded("show-unknown"), "404 Not Found")))

    async with Ollama(UpstreamOptions(server.url)) as ollama:
        with pytest.raises(ModelNotFound):
            await ollama.show("nope")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"models":1}', b"\xff"])
async def test_what_is_no_list_of_models_is_refused(serve: Serve, body: bytes) -> None:
    server = await serve(answering(whole(body)))

    async with Ollama(UpstreamOptions(server.url)) as ollama:
        with pytest.raises(UpstreamInvalidResponse):
            await ollama.tags()


async def test_a_path_before_api_is_kept_and_configured_headers_are_sent(serve: Serve) -> None:
    server = await serve(answering(whole(recorded("version"))))
    options = UpstreamOptions(f"{server.url}/ollama/", headers={"Authorization": "Bearer k"})

    async with Ollama(options) as ollama:
        await ollama.version()

    assert server.requests[0].startswith(b"GET /ollama/api/version HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer k\r\n" in server.requests[0]
    assert "Bearer" not in repr(options)


@pytest.mark.parametrize(
    "url", ["ftp://x", "localhost:1", "http://", "http://user:secret@host", "http://a b", "http://h/\r\nX: y"]
)
def test_an_address_that_cannot_be_used_is_an_error_without_its_secrets(url: str) -> None:
    with pytest.raises(ValueError, match="upstream URL") as caught:
        UpstreamOptions(url)

    assert "secret" not in str(caught.value)


def test_a_header_that_would_end_its_line_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        UpstreamOptions(headers={"X": "a\r\nY: b"})


@pytest.mark.parametrize(("host", "name"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("127.0.0.1", "localhost")])
async def test_names_and_addresses_of_both_families_work(serve: Serve, host: str, name: str) -> None:
    server = await serve(answering(whole(recorded("version"))), host=host)

    async with Ollama(UpstreamOptions(f"http://{name}:{server.port}")) as ollama:
        assert await ollama.version() == "0.0.0"

    assert b"\r\nHost: %s:%d\r\n" % (name.encode(), server.port) in server.requests[0]


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "x..y"])
async def test_c43_a_name_that_cannot_be_resolved(host: str) -> None:
    async with Ollama(UpstreamOptions(f"http://{host}")) as ollama:
        with pytest.raises(UpstreamUnavailable) as caught:
            await ollama.version()

    assert host not in str(caught.value)


class TestTLS:
    @pytest.fixture
    def authority(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
        """An authority that this machine trusts."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        return authority

    @staticmethod
    def context(authority: trustme.CA, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        return context

    async def test_a_trusted_certificate(self, serve: Serve, authority: trustme.CA) -> None:
        server = await serve(answering(whole(recorded("version"))), context=self.context(authority, "localhost"))

        async with Ollama(UpstreamOptions(f"https://localhost:{server.port}")) as ollama:
            assert [await ollama.version() for _ in range(3)] == ["0.0.0"] * 3

        assert server.opened == 1

    async def test_a_certificate_for_an_address(self, serve: Serve, authority: trustme.CA) -> None:
        server = await serve(answering(whole(recorded("version"))), context=self.context(authority, "127.0.0.1"))

        async with Ollama(UpstreamOptions(server.url)) as ollama:
            assert await ollama.version() == "0.0.0"

    async def test_a_certificate_for_another_name(self, serve: Serve, authority: trustme.CA) -> None:
        server = await serve(Peer.gone, context=self.context(authority, "elsewhere"))

        await self._is_refused(f"https://localhost:{server.port}")

    @pytest.mark.usefixtures("authority")
    async def test_a_certificate_of_a_stranger(self, serve: Serve) -> None:
        server = await serve(Peer.gone, context=self.context(trustme.CA(), "localhost"))

        await self._is_refused(f"https://localhost:{server.port}")

    async def test_no_tls_at_all(self, serve: Serve) -> None:
        async def plain(peer: Peer) -> None:
            await peer.anything()
            await peer.send(whole(b"what?", "400 No"))

        server = await serve(plain)

        await self._is_refused(server.url.replace("http", "https"))

    async def test_a_close_in_the_handshake(self, serve: Serve) -> None:
        async def leave(peer: Peer) -> None:
            await peer.anything()
            peer.close()

        server = await serve(leave)

        await self._is_refused(server.url.replace("http", "https"))

    @staticmethod
    async def _is_refused(url: str) -> None:
        async with asyncio.timeout(WITHIN), Ollama(UpstreamOptions(url)) as ollama:
            with pytest.raises(UpstreamUnavailable) as caught:
                await ollama.version()

        assert "127.0.0.1" not in str(caught.value)


class TestReadiness:
    async def test_of_an_ollama(self, serve: Serve) -> None:
        server = await serve(answering(whole(recorded("version"))))

        async with Ollama(UpstreamOptions(server.url)) as ollama:
            assert await ollama.unready() is None

    @pytest.mark.parametrize("response", [whole(b"<html>"), whole(b"no", "503 No"), whole(b"", "301 Moved")])
    async def test_of_something_else(self, serve: Serve, response: bytes) -> None:
        server = await serve(answering(response))

        async with Ollama(UpstreamOptions(server.url)) as ollama:
            assert await ollama.unready()

    async def test_of_nothing(self, free_port: int) -> None:
        async with Ollama(UpstreamOptions(f"http://127.0.0.1:{free_port}")) as ollama:
            reason = await ollama.unready()

        assert reason is not None
        assert str(free_port) not in reason


class TestBreaker:
    """C43: refusals at once while Ollama is away, and none once it is back."""

    async def test_it_opens_and_closes_by_itself(
        self, serve: Serve, free_port: int, one_probe: Callable[[Ollama], None]
    ) -> None:
        async with Ollama(UpstreamOptions(f"http://127.0.0.1:{free_port}")) as ollama:
            one_probe(ollama)
            for _ in range(3):
                with pytest.raises(UpstreamUnavailable):
                    await ollama.version()
            with pytest.raises(UpstreamUnavailable) as refused:
                await ollama.version()
            assert (refused.value.retry_after, refused.value.__cause__) == (0.05, None)

            server = await serve(answering(whole(recorded("version"))), port=free_port)
            await server.until(lambda server: len(server.requests) == 1)
            async with asyncio.timeout(WITHIN):
                while True:
                    try:
                        await ollama.version()
                        break
                    except UpstreamUnavailable:
                        await asyncio.sleep(0)

        assert {request.split(b" ")[1] for request in server.requests} == {b"/api/version"}

    async def test_a_look_at_readiness_closes_it(self, serve: Serve, free_port: int) -> None:
        async with Ollama(UpstreamOptions(f"http://127.0.0.1:{free_port}")) as ollama:
            for _ in range(4):
                with pytest.raises(UpstreamUnavailable):
                    await ollama.version()
            await serve(answering(whole(recorded("version"))), port=free_port)

            assert await ollama.unready() is None
            assert await ollama.version() == "0.0.0"

    async def test_failed_answers_do_not_open_it(self, serve: Serve) -> None:
        async def die(peer: Peer) -> None:
            await peer.request()
            peer.close()

        server = await serve(die)
        async with Ollama(UpstreamOptions(server.url)) as ollama:
            for _ in range(10):
                with pytest.raises(UpstreamClosed):
                    await ollama.version()

        assert len(server.requests) == 10

    @pytest.fixture
    def one_probe(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Ollama], None]:
        """Probe often enough for a test."""
        return lambda ollama: monkeypatch.setattr(ollama._breaker, "_probe_every", 0.05)


async def test_closing_waits_until_every_socket_is_closed(serve: Serve, open_sockets: Callable[[], list[int]]) -> None:
    server = await serve(answering(whole(recorded("version"))))
    ollama = Ollama(UpstreamOptions(server.url))
    await ollama.start()
    await ollama.version()

    await ollama.close()

    assert server.port not in open_sockets()
    with pytest.raises(UpstreamUnavailable):
        await ollama.version()
