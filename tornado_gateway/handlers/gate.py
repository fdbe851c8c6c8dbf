"""What a request's head must be like before anyone looks at its body: host, origin, key out of the URL, type, size.

Functions of the head alone; each refuses by raising.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from tornado_gateway.errors import (
    HostNotAllowed,
    InvalidRequest,
    KeyInQuery,
    OriginNotAllowed,
    RequestTooLarge,
    UnsupportedMediaType,
)

_KEY_NAMES = frozenset({"key", "api_key", "api-key", "apikey", "x-api-key", "access_token", "token", "authorization"})
_KEY_FORMS = ("tg_", "sk-", "Bearer ")
_FORMS = frozenset({"application/x-www-form-urlencoded"})
_REFUSED_TYPES = frozenset({"text/plain", "multipart/form-data"})
_LENGTH_DIGITS = 15
_MAX_QUERY_FIELDS = 1000
_SINGLE = ("content-type", "content-length", "host", "transfer-encoding")


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_names(host: str, more: Collection[str]) -> frozenset[str]:
    """The names under which a server bound to `host` may be asked, in lower case."""
    machine = socket.gethostname().lower()
    return frozenset({host.lower(), "localhost", machine, machine.partition(".")[0], *(name.lower() for name in more)})


def check_host(value: str | None, allowed: Collection[str]) -> None:
    """Refuse a `Host` that this machine does not answer to: a web page whose name was bent to 127.0.0.1 sends one."""
    if value is None:
        return
    name = _host_name(value)
    if name in allowed or name.endswith(".localhost") or is_loopback(name):
        return
    raise HostNotAllowed("This gateway does not answer to that Host name; `server.allowed_hosts` lists more names.")


def check_origin(value: str | None, allowed: Collection[str]) -> bool:
    """Whether the request comes from a web page that may read the answer; refuses other web pages."""
    if value is None:
        return False
    if value in allowed or "*" in allowed:
        return True
    raise OriginNotAllowed("Web pages of that origin may not use this gateway; `server.cors_origins` names those that may.")


def check_query(query: str) -> None:
    """Refuse a key in the URL, where proxies and histories write it down, and more fields than anybody has a use for."""
    if not query:
        return
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        raise InvalidRequest(f"The URL has more than {_MAX_QUERY_FIELDS} query fields.") from None
    for name, value in fields:
        if name.lower() in _KEY_NAMES or value.startswith(_KEY_FORMS):
            raise KeyInQuery("A key does not belong in the URL: send it as `Authorization: Bearer KEY`.")


def check_single(repeated: Collection[str]) -> None:
    """Refuse a head in which two parties could read different things. `repeated` are the headers that stand more than once."""
    for name in repeated:
        if name in _SINGLE:
            raise InvalidRequest(f"The header {name} stands more than once.")


def check_body(headers: Mapping[str, str], max_body_bytes: int, received: int = 0) -> None:
    """Refuse a body by what its head says: too large, compressed, or of a type that web pages may send without asking.

    `received` is how much of it has come already, in bytes.
    """
    length = headers.get("content-length", "")
    if len(length) > _LENGTH_DIGITS:
        raise InvalidRequest("The header content-length is malformed.")
    if received > max_body_bytes or (length.isdecimal() and int(length) > max_body_bytes):
        raise too_large(max_body_bytes)
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaType("Compressed bodies are not read: send the JSON as it is.")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _REFUSED_TYPES or (kind in _FORMS and "origin" in headers):
        raise UnsupportedMediaType(f"A body of the type {kind} is not read: send JSON as application/json.")


def too_large(max_body_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"The body is larger than the {max_body_bytes} bytes that this gateway reads.")


def _host_name(value: str) -> str:
    value = value.strip().lower()
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0].removesuffix(".")
