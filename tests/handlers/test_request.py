"""What a handler finds in a request is the same, wherever it came in."""

from types import SimpleNamespace

from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from tornado_gateway.handlers.request import ClientRequest, fields_of, repeated_in

START = RequestStartLine("GET", "/v1/x?a=1&b=2&a=3", "HTTP/1.1")


class Connection:
    context = SimpleNamespace(remote_ip="127.0.0.1", protocol="https")


def ours() -> ClientRequest:
    return ClientRequest(START, {"host": "Some.example:80", "x-some": "a,b"}, {"x-some"}, Connection())


def tornados() -> HTTPServerRequest:
    headers = HTTPHeaders({"Host": "Some.example:80", "X-Some": "a"})
    headers.add("x-some", "b")
    return HTTPServerRequest(start_line=START, headers=headers, connection=Connection())  # type: ignore[arg-type]  # all that it asks


def test_every_part_that_tornado_makes_is_there_and_the_same() -> None:
    mine, theirs = vars(ours()), vars(tornados())
    parts = [name for name in theirs if name not in ("_start_time", "connection")]

    assert parts
    assert {name: getattr(ours(), name) for name in parts} == {name: theirs[name] for name in parts}
    assert mine["connection"].context.remote_ip == theirs["remote_ip"]


def test_headers_are_found_by_their_names_in_lower_case() -> None:
    assert fields_of(ours()) == fields_of(tornados()) == {"host": "Some.example:80", "x-some": "a,b"}
    assert list(repeated_in(ours())) == list(repeated_in(tornados())) == ["x-some"]


def test_http_1_0_without_a_host() -> None:
    request = ClientRequest(RequestStartLine("GET", "/", "HTTP/1.0"), {}, (), Connection())

    assert request.host_name == "127.0.0.1"
    assert request.full_url() == "https://127.0.0.1/"
