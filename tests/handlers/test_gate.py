"""What a request's head must be like."""

import pytest

from tornado_gateway.errors import (
    HostNotAllowed,
    InvalidRequest,
    KeyInQuery,
    OriginNotAllowed,
    RequestTooLarge,
    UnsupportedMediaType,
)
from tornado_gateway.handlers import gate

OWN = gate.own_names("127.0.0.1", ["Gateway.example"])


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:3000", "localhost:3000", "LocalHost", "[::1]:3000", "api.localhost", "gateway.example", None],
)
def test_p63_hosts_that_are_this_machine_are_answered(host: str | None) -> None:
    gate.check_host(host, OWN)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:3000", "10.0.0.1", ""])
def test_p63_other_hosts_are_refused(host: str) -> None:
    with pytest.raises(HostNotAllowed):
        gate.check_host(host, OWN)


def test_p63_a_web_page_is_refused_unless_named() -> None:
    assert gate.check_origin("https://chat.example", {"https://chat.example"})
    assert not gate.check_origin(None, set())
    with pytest.raises(OriginNotAllowed):
        gate.check_origin("https://evil.example", {"https://chat.example"})
    with pytest.raises(OriginNotAllowed):
        gate.check_origin("null", set())


@pytest.mark.parametrize("query", ["key=abc", "api_key=abc", "a=1&API-KEY=x", "q=tg_abc", "x=sk-123", "access_token="])
def test_c07_a_key_in_the_url_is_refused(query: str) -> None:
    with pytest.raises(KeyInQuery):
        gate.check_query(query)


@pytest.mark.parametrize("query", ["", "limit=10", "monkey=banana"])
def test_other_queries_pass(query: str) -> None:
    gate.check_query(query)


def test_a_query_of_more_fields_than_anybody_needs_is_refused() -> None:
    gate.check_query("&".join(["a=1"] * 1000))
    with pytest.raises(InvalidRequest):
        gate.check_query("&".join(["a=1"] * 1001))


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br", "deflate", "GZIP", "gzip, identity"])
def test_c38_compressed_bodies_are_refused(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        gate.check_body({"content-encoding": encoding}, 100)


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=utf-8", "multipart/form-data; boundary=x", "TEXT/PLAIN"])
def test_p63_types_that_web_pages_send_without_asking_are_refused(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        gate.check_body({"content-type": kind}, 100)


def test_a_form_type_passes_from_curl_and_not_from_a_web_page() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}

    gate.check_body(form, 100)
    with pytest.raises(UnsupportedMediaType):
        gate.check_body({**form, "origin": "https://chat.example"}, 100)


def test_c36_a_body_that_says_it_is_too_large_is_refused() -> None:
    gate.check_body({"content-length": "100"}, 100)
    with pytest.raises(RequestTooLarge):
        gate.check_body({"content-length": "101"}, 100)


def test_p56_a_head_that_can_be_read_in_two_ways_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        gate.check_single(["content-type"])
    gate.check_single(["accept"])
