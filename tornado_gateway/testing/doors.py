"""What Ollama refuses before it looks at a route: foreign hosts, foreign origins; and the routes that it has."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from urllib.parse import urlsplit

from tornado_gateway.testing.http import Request

ROUTES: dict[str, tuple[str, ...]] = {
    "/": ("GET", "HEAD"),
    "/api/version": ("GET", "HEAD"),
    "/api/tags": ("GET", "HEAD"),
    "/api/ps": ("GET",),
    "/api/show": ("POST",),
    "/api/chat": ("POST",),
    "/api/generate": ("POST",),
    "/api/embed": ("POST",),
}
_SCHEMES = frozenset({"app", "file", "tauri", "vscode-webview", "vscode-file"})
_LOCAL = frozenset({"localhost", "127.0.0.1", "0.0.0.0"})  # noqa: S104  # a name that browsers send, not an address to bind
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")


def refused_at_the_door(request: Request) -> bool:
    """Whether the answer is 403 with an empty body, as for web pages and rebound names. The list is Ollama's for loopback."""
    return not _host_allowed(request.headers.get("host", "")) or not _origin_allowed(request.headers)


@lru_cache(maxsize=256)
def _host_allowed(host: str) -> bool:
    name = (urlsplit(f"//{host}").hostname or "").lower()
    if not name or name in {"localhost", socket.gethostname().lower()} or name.endswith(_LOCAL_SUFFIXES):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified


def _origin_allowed(headers: dict[str, str]) -> bool:
    origin = headers.get("origin")
    if origin is None:
        return True
    parts = urlsplit(origin)
    if parts.scheme in _SCHEMES:
        return True
    if parts.scheme not in {"http", "https"}:
        return False
    return parts.hostname in _LOCAL or parts.netloc == headers.get("host")
