"""Lets in who brings a token of an OpenID Connect issuer: a signed JWT (RFC 7519), checked here, with the issuer's public keys.

The claim `sub`, or another one, is the tenant: limits, the cache and the log are kept by it. While the issuer cannot be reached, the keys
that were fetched last go on counting; without any, nobody comes in and the answer is 503: whether a token is right cannot be told.
"""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator
from tornado_gateway_oidc_keys import IssuerKeys, KeysUnavailable

from tornado_gateway.hookspecs import AuthenticationFailed, AuthUnavailable, Context, Principal, ServerFacts, hookimpl

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures by private keys only: with an HMAC, whoever can read the issuer's public keys could sign."""

REFUSAL = "The token is missing or not valid. Send it as `Authorization: Bearer TOKEN`."
_LONGEST_TOKEN = 16 * 1024
_LONGEST_NAME = 256
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Oidc:
    """Answers with a `Principal` for a token of the issuer, with 401 for any other, with 503 while nobody can tell."""

    class Settings(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        issuer: str
        """Its URL, exactly as the claim `iss` spells it."""
        audience: tuple[str, ...] = Field(min_length=1)
        """Of these one must stand in the claim `aud`: a token that was made for somebody else is no token."""
        jwks_url: str | None = None
        """Where its keys are; else what `/.well-known/openid-configuration` below the issuer says."""
        tenant_claim: str = "sub"
        """The claim that names the tenant."""
        models_claim: str | None = None
        """A claim that lists the models (patterns) that a caller may use; without the claim none. None: all may use all."""
        algorithms: tuple[Algorithm, ...] = Field(default=("RS256", "ES256", "EdDSA"), min_length=1)
        """How tokens may be signed."""
        leeway_seconds: PositiveFloat = 30
        """How far the clocks of issuer and gateway may differ."""
        keys_seconds: PositiveFloat = 300
        """How long fetched keys count before they are fetched anew."""
        stale_seconds: PositiveFloat = 86400
        """How long they count at most while the issuer cannot be reached."""
        alone: bool = True
        """False: what is no token of this issuer is left to the plugins behind this one, such as `auth`."""

        @model_validator(mode="after")
        def _over_https(self) -> Oidc.Settings:
            for url in filter(None, (self.issuer, self.jwks_url)):
                parts = urlsplit(url)
                if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
                    raise ValueError("the issuer must be asked by https: whoever stands in between could give out keys")
            return self

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._keys = self._new_keys()

    def _new_keys(self) -> IssuerKeys:
        settings = self._settings
        return IssuerKeys(settings.issuer, settings.jwks_url, settings.keys_seconds, settings.stale_seconds, self._clock)

    @hookimpl
    async def startup(self, server: ServerFacts) -> None:
        """Fetch the keys, so that the first caller need not wait. An issuer that is down is no reason not to start."""
        await self._keys.warm_up()

    @hookimpl
    async def reconfigure(self, settings: Settings) -> None:
        old, self._settings = self._settings, settings
        where = ("issuer", "jwks_url", "keys_seconds", "stale_seconds")
        if any(getattr(old, name) != getattr(settings, name) for name in where):
            before, self._keys = self._keys, self._new_keys()
            before.close()
            await self._keys.warm_up()

    @hookimpl
    async def ready(self) -> str | None:
        try:
            await self._keys.current()
        except KeysUnavailable:
            return "the issuer's keys cannot be fetched"
        return None

    @hookimpl
    async def authenticate(self, context: Context) -> Principal | None:
        token = _bearer(context.headers.get("authorization", ""))
        if not self._is_ours(token):
            if self._settings.alone:
                raise _refusal()
            return None
        try:
            keys = await self._keys.for_key(_header(token).get("kid"))
        except KeysUnavailable as error:
            raise AuthUnavailable("Tokens cannot be checked at the moment.", retry_after=1) from error
        return self._principal(token, keys)

    @hookimpl
    async def shutdown(self) -> None:
        self._keys.close()

    def _is_ours(self, token: str) -> bool:
        """Whether it says that it is a token of this issuer; nothing of it is believed yet."""
        return _unchecked_claims(token).get("iss") == self._settings.issuer

    def _principal(self, token: str, keys: KeySet) -> Principal:
        settings = self._settings
        claims_rules = jwt.JWTClaimsRegistry(
            leeway=int(settings.leeway_seconds),
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "values": list(settings.audience)},
            exp={"essential": True},
        )
        try:
            claims = jwt.decode(token, keys, algorithms=list(settings.algorithms)).claims
            claims_rules.validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            raise _refusal() from error
        name = claims.get(settings.tenant_claim)
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise _refusal()
        return Principal(name, models=self._models(claims))

    def _models(self, claims: Mapping[str, Any]) -> tuple[str, ...] | None:
        if self._settings.models_claim is None:
            return None
        listed = claims.get(self._settings.models_claim)
        return tuple(entry for entry in listed if isinstance(entry, str)) if isinstance(listed, list) else ()


def _bearer(value: str) -> str:
    scheme, _, token = value.strip(" \t").partition(" ")
    token = token.strip(" \t")
    return token if scheme.lower() == "bearer" and len(token) <= _LONGEST_TOKEN else ""


def _header(token: str) -> Mapping[str, Any]:
    return _part(token, 0)


def _unchecked_claims(token: str) -> Mapping[str, Any]:
    return _part(token, 1)


def _part(token: str, number: int) -> Mapping[str, Any]:
    """A part of a token, unchecked; empty when it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        decoded = json.loads(urlsafe_b64decode(parts[number] + "=" * (-len(parts[number]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _refusal() -> AuthenticationFailed:
    return AuthenticationFailed(REFUSAL)
