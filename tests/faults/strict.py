"""O4: what the gateway sends, read by a parser that forgives nothing (h11), and what a client may believe of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import h11


@dataclass
class Response:
    """One answer as it stood on the wire. `whole` says whether its framing came to its end."""

    status: int
    """0 where only an interim answer came before the close."""
    headers: dict[str, str]
    """Names in lower case; a name that comes twice is a fault."""
    body: bytes = b""
    whole: bool = False
    interim: list[int] = field(default_factory=list)

    @property
    def streamed(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def events(self) -> list[Any]:
        """The data of the events, `"[DONE]"` as it stands."""
        lines = [line for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(line[6:]) if line != b"data: [DONE]" else "[DONE]" for line in lines]

    @property
    def text(self) -> str:
        """What a streamed chat says."""
        chunks = [event for event in self.events if isinstance(event, dict) and event.get("choices")]
        return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)

    @property
    def finish_reasons(self) -> list[str]:
        chunks = [event for event in self.events if isinstance(event, dict) and event.get("choices")]
        return [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]

    @property
    def error(self) -> Any:
        """The error of an answer, streamed or not; None where there is none."""
        if self.streamed:
            last = self.events[-1] if self.events else None
            return last.get("error") if isinstance(last, dict) else None
        return json.loads(self.body).get("error") if self.status >= 400 and self.body else None


def responses(raw: bytes, *methods: str) -> list[Response]:
    """All answers in the bytes of one connection; `methods` are those of the requests, GET where nothing is given.

    Raises `h11.RemoteProtocolError` for a byte that HTTP does not allow.
    """
    found: list[Response] = []
    while raw:
        method = methods[len(found)] if len(found) < len(methods) else "GET"
        response, rest = _first(raw, method)
        if response.status == 400 and not rest.startswith(b"HTTP/1.1 "):
            # What is malformed has no method that could be believed: its refusal has a body, and the connection ends.
            response, rest = _first(raw, "GET")
        found.append(response)
        raw = rest
    return found


def check_honest(response: Response) -> None:
    """Nobody can take a cut answer for a whole one, and every error has its shape."""
    if response.streamed:
        done, error = response.events[-1:] == ["[DONE]"], response.error is not None
        assert not (error and response.whole), "a stream that failed has a regular end"
        assert not (error and "[DONE]" in response.events), "a stream that failed says [DONE]"
        assert done or not response.whole, "a stream ends well and does not say [DONE]"
        assert done or not response.finish_reasons, "a stream that was cut has a finish reason"
        assert _lines_are_events(response.body), "a line is neither data nor a comment"
    elif response.status >= 400 and response.body:
        assert set(json.loads(response.body)["error"]) == {"message", "type", "param", "code"}
        assert response.headers["content-type"] == "application/json"
    assert "server" not in response.headers


def _lines_are_events(body: bytes) -> bool:
    return all(block.count(b"\n") == 0 and block.startswith((b"data: ", b": ")) for block in body.split(b"\n\n") if block)


def _first(raw: bytes, method: str) -> tuple[Response, bytes]:
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "localhost")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(raw)
    interim: list[int] = []
    response = Response(0, {}, interim=interim)
    while True:
        event = parser.next_event()
        match event:
            case h11.InformationalResponse():
                interim.append(event.status_code)
            case h11.Response():
                names = [name.decode() for name, _ in event.headers]
                assert len(names) == len(set(names)), f"a header comes twice: {names}"
                headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
                response = Response(event.status_code, headers, interim=interim)
            case h11.Data():
                response.body += bytes(event.data)
            case h11.EndOfMessage():
                response.whole = True
                return response, parser.trailing_data[0]
            case _:
                return _at_the_end(parser, response), b""


def _at_the_end(parser: h11.Connection, response: Response) -> Response:
    """Where the bytes are over: the end of a body without framing, or a cut."""
    assert response.status or response.interim, "the bytes hold no whole head"
    try:
        parser.receive_data(b"")
        response.whole = isinstance(parser.next_event(), h11.EndOfMessage)
    except h11.RemoteProtocolError:
        response.whole = False
    return response
