"""A request as its handler knows it: Tornado's, and beside it the headers by their names in lower case.

A request from a connection of ours is a `ClientRequest`: what Tornado makes of every request, and none of our handlers looks at (a case-keeping
mapping of headers, arguments of the query, a deep copy of them), is made when somebody asks for it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from tornado.escape import parse_qs_bytes
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine, split_host_and_port

Fields = Mapping[str, str]
"""Headers, names in lower case; the values of one that stands more than once are joined by commas."""


class ClientRequest(HTTPServerRequest):
    """Built from a head that has been checked. `connection` is the `Peer` that it came by, `repeated` names what stands more than once."""

    def __init__(self, start: RequestStartLine, fields: Fields, repeated: Collection[str], connection: Any) -> None:
        # Not the base class's, which makes all that is left for later here.
        self.method, self.uri, self.version = start
        self.fields = fields
        self.repeated = repeated
        self.connection = connection
        self.server_connection = None
        self.remote_ip = connection.context.remote_ip
        self.protocol = connection.context.protocol
        self.host = fields.get("host", "127.0.0.1")
        self.path, _, self.query = start.path.partition("?")
        self.body = b""
        self.body_arguments = {}
        self.files = {}
        self._start_time = time.time()
        self._finish_time = None

    @cached_property
    def headers(self) -> HTTPHeaders:  # type: ignore[override]  # an attribute there
        return HTTPHeaders(self.fields)

    @cached_property
    def host_name(self) -> str:  # type: ignore[override]  # an attribute there
        return split_host_and_port(self.host.lower())[0]

    @cached_property
    def arguments(self) -> dict[str, list[bytes]]:  # type: ignore[override]  # an attribute there
        return parse_qs_bytes(self.query, keep_blank_values=True, max_num_fields=1000)

    @cached_property
    def query_arguments(self) -> dict[str, list[bytes]]:  # type: ignore[override]  # an attribute there
        return {name: list(values) for name, values in self.arguments.items()}


def fields_of(request: HTTPServerRequest) -> Fields:
    """The request's headers."""
    if isinstance(request, ClientRequest):
        return request.fields
    fields: dict[str, str] = {}
    for name, value in request.headers.get_all():
        name = name.lower()
        fields[name] = f"{fields[name]},{value}" if name in fields else value
    return fields


def repeated_in(request: HTTPServerRequest) -> Collection[str]:
    """The names of headers that stand more than once, in lower case."""
    if isinstance(request, ClientRequest):
        return request.repeated
    return [name.lower() for name in request.headers if len(request.headers.get_list(name)) > 1]
