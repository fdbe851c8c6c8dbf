"""Where a request goes: one URL taken apart once, for dialling and for the request's head."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[bool, str, int]
"""TLS or not, host, port: connections are interchangeable within one origin."""


@dataclass(frozen=True, slots=True)
class Target:
    """An absolute URL. `host` is a name or an address without brackets, `authority` is what stands in `Host`."""

    tls: bool
    host: str
    port: int
    authority: str
    path: str

    @property
    def origin(self) -> Origin:
        return self.tls, self.host, self.port


@lru_cache(maxsize=64)
def target_of(url: str) -> Target:
    """Take `url` apart. Raises ValueError for anything but an http or https URL that can be sent as it is.

    Credentials in the URL are refused, since they would end in logs; spaces and line ends are refused, since they would
    end the request line. A fragment is not sent.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("an upstream URL holds printable ASCII only")
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("an upstream URL begins with http:// or https:// and a host")
    if "@" in parts.netloc:
        raise ValueError("an upstream URL holds no credentials: use headers")
    default = _DEFAULT_PORTS[parts.scheme]
    port = default if parts.port is None else parts.port
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Target(
        tls=parts.scheme == "https",
        host=parts.hostname,
        port=port,
        authority=host if port == default else f"{host}:{port}",
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )


def request_head(method: str, target: Target, headers: Iterable[tuple[str, str]], body_length: int | None) -> bytes:
    """The head of a request with explicit framing and nothing that invites compression.

    `Host`, `Content-Length` and `Connection` are ours: the ones among `headers` are left out, and so are `Accept-Encoding`,
    `Transfer-Encoding` and `Expect`. Raises ValueError for a header that could end its line.
    """
    length = "" if body_length is None else f"Content-Length: {body_length}\r\n"
    head = f"{method} {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n{length}{_lines(tuple(headers))}\r\n"
    return head.encode("latin-1")


_FRAMING = {"host", "content-length", "connection", "accept-encoding", "transfer-encoding", "expect", "upgrade"}
_OURS = frozenset(_FRAMING | {"te"})  # codespell:ignore te


@lru_cache(maxsize=64)
def _lines(headers: tuple[tuple[str, str], ...]) -> str:
    """The lines of the headers that may be sent: the same for every call to one Ollama."""
    lines = []
    for name, value in headers:
        if name.lower() in _OURS:
            continue
        if not _sendable(name, value):
            raise ValueError(f"the header {name!r} cannot be sent")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines)


def _sendable(name: str, value: str) -> bool:
    token = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return token and not any(character in value for character in "\r\n\0")
