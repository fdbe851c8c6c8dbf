"""The issuer's public keys: fetched when they are needed, kept for a while, fetched anew for a key that is not known yet.

Bounds: one fetch at a time, one in ten seconds whatever unknown keys callers name, 3 seconds for each, 256 KB, 64 keys, no redirects.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import KeySet, import_key
from tornado.httpclient import AsyncHTTPClient
from tornado.simple_httpclient import SimpleAsyncHTTPClient

FETCH_SECONDS = 2.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 64
ANEW_SECONDS = 10.0
"""So often at most the issuer is asked, whatever tokens come in."""
_KINDS = ("RSA", "EC", "OKP")

_log = logging.getLogger("tornado_gateway.plugins.oidc")


class KeysUnavailable(Exception):
    """No keys are known that still count."""


class IssuerKeys:
    """Used from one event loop."""

    def __init__(
        self, issuer: str, jwks_url: str | None, keys_seconds: float, stale_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._keys_seconds = keys_seconds
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched = self._tried = -float("inf")
        self._fetching = asyncio.Lock()
        self._client: AsyncHTTPClient | None = None

    async def warm_up(self) -> None:
        """Fetch the keys; no failure when they cannot be had."""
        try:
            await self.current()
        except KeysUnavailable:
            _log.warning("issuer_unreachable", extra={"facts": {"issuer": self._issuer}})

    async def current(self) -> KeySet:
        """The keys that count now. Raises `KeysUnavailable`."""
        if self._clock() - self._fetched >= self._keys_seconds:
            await self._fetch()
        if self._keys is None or self._clock() - self._fetched >= self._keys_seconds + self._stale_seconds:
            raise KeysUnavailable
        return self._keys

    async def for_key(self, kid: object) -> KeySet:
        """The keys that count now, fetched anew when `kid` is not among them: an issuer may have changed its key."""
        keys = await self.current()
        if isinstance(kid, str) and kid not in {key.kid for key in keys.keys}:
            await self._fetch()
            keys = await self.current()
        return keys

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _fetch(self) -> None:
        """Fetch, unless somebody did just now; what was known stays when it fails."""
        async with self._fetching:
            if self._clock() - self._tried < ANEW_SECONDS:
                return
            self._tried = self._clock()
            try:
                self._keys = _key_set(await self._get(self._jwks_url or await self._discovered()))
            except Exception as error:  # noqa: BLE001  # a stranger's server: whatever it is, there are no new keys
                _log.warning("keys_not_fetched", extra={"facts": {"issuer": self._issuer, "reason": type(error).__name__}})
            else:
                self._fetched = self._clock()

    async def _discovered(self) -> str:
        """OpenID Connect Discovery 1.0, section 4."""
        document = await self._get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if document.get("issuer") != self._issuer:
            raise ValueError("the document is another issuer's")
        url = str(document["jwks_uri"])
        if urlsplit(url).scheme != "https" and urlsplit(url).netloc != urlsplit(self._issuer).netloc:
            raise ValueError("the keys are not served by https")
        return url

    async def _get(self, url: str) -> dict[str, Any]:
        if self._client is None:
            self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=1, max_body_size=MAX_BYTES)
        response = await self._client.fetch(
            url, connect_timeout=FETCH_SECONDS, request_timeout=FETCH_SECONDS, follow_redirects=False
        )
        document = json.loads(response.body)
        if not isinstance(document, dict):
            raise TypeError("the document is not an object")
        return document


def _key_set(document: dict[str, Any]) -> KeySet:
    """The keys for signatures; one that is of no use does not spoil the others."""
    keys = []
    for entry in document["keys"][:MAX_KEYS]:
        if entry.get("kty") in _KINDS and entry.get("use", "sig") == "sig":
            try:
                keys.append(import_key({name: value for name, value in entry.items() if name != "d"}))
            except (JoseError, ValueError):
                continue
    if not keys:
        raise ValueError("there is no key for signatures")
    return KeySet(keys)
