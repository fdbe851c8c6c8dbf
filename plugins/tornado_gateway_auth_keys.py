"""Keys of the auth plugin: how one is made, what a configured one says, and the ring in which a presented one is found."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import string
import zlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema, field_validator, model_validator

from tornado_gateway.hookspecs import Principal

PREFIX = "tg_"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_CHARACTERS = 43
"""Each is one of 62: together 256 bits. Letters and digits only, so that a double click selects the whole key."""
CHECKSUM_CHARACTERS = 6
_NO_DATE = "must be a date such as 2027-01-31, or a date with a time"
_NEVER = datetime.max.replace(tzinfo=UTC)
_NOBODY = (bytes(32), None, 0.0)


def new_key() -> str:
    """A key that scanners recognise: prefix, 256 random bits, checksum."""
    body = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return body + checksum(body)


def checksum(text: str) -> str:
    """CRC32 of ASCII text as six digits of base 62."""
    number, digits = zlib.crc32(text.encode("ascii")), ""
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def is_mistyped(key: str) -> bool:
    """Whether the checksum of a `tg_` key is wrong. Keys of any other form have none."""
    if not key.startswith(PREFIX):
        return False
    return not key.isascii() or checksum(key[:-CHECKSUM_CHARACTERS]) != key[-CHECKSUM_CHARACTERS:]


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _end(value: Any) -> Any:
    """The moment at which a key ends: a date counts to its end, in UTC, as does a time without a zone."""
    if isinstance(value, str):
        value = _moment(value.strip())
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        # The last day that there is means never.
        return _NEVER if value == date.max else datetime.combine(value, time(), UTC) + timedelta(days=1)
    if value is None:
        return None
    raise ValueError(_NO_DATE)


def _moment(text: str) -> date | datetime:
    try:
        return date.fromisoformat(text) if len(text) == len("2027-01-31") else datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(_NO_DATE) from None


class KeyEntry(BaseModel):
    """A key and what it may do. Several keys may have the same name: they are the same tenant."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, strict=True)

    name: str = Field(min_length=1, max_length=128, description="The tenant: limits, cache and log go by it.")
    key: SecretStr | None = Field(default=None, description="The key itself, of any form.")
    sha256: str | None = Field(default=None, description="Its SHA-256 in hexadecimal, instead of the key itself.")
    models: tuple[str, ...] | None = Field(
        default=None, strict=False, description="Patterns with `*` of the models that it may use; null: all."
    )
    expires: Annotated[
        datetime | None,
        BeforeValidator(_end),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}], "examples": ["2027-01-31"]}),
    ] = Field(default=None, description="The last day (UTC) on which it is valid, or the moment at which it ends.")
    disabled: bool = Field(default=False, description="Refuse the key without forgetting it.")
    requests_per_minute: int | None = Field(default=None, ge=1, description="This key's own limit; beats `rate_limit`'s.")
    tokens_per_minute: int | None = Field(default=None, ge=1, description="This key's own limit; beats `rate_limit`'s.")
    max_concurrent: int | None = Field(default=None, ge=1, description="This key's own limit; beats `rate_limit`'s.")
    log_content: bool = Field(default=False, description="Write this tenant's prompts and answers to the log.")

    @field_validator("name")
    @classmethod
    def _name_is_printable(cls, name: str) -> str:
        if not name.isprintable() or not name.strip():
            raise ValueError("must be printable text")
        return name.strip()

    @field_validator("key")
    @classmethod
    def _key_can_be_sent(cls, key: SecretStr | None) -> SecretStr | None:
        text = key.get_secret_value().strip() if key else ""
        if not text.isprintable():
            raise ValueError("must be printable text")
        if is_mistyped(text):
            raise ValueError("begins with tg_ but its last six characters are not its checksum: it has been mistyped or cut")
        return SecretStr(text) if text else None

    @field_validator("sha256")
    @classmethod
    def _digest_is_whole(cls, digest: str | None) -> str | None:
        text = (digest or "").strip().lower()
        if text and (len(text) != 64 or not set(text) <= set(string.hexdigits)):
            raise ValueError("must be 64 hexadecimal digits")
        return text or None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.key and self.sha256:
            raise ValueError("give either `key` or `sha256`, not both")
        return self

    @property
    def given(self) -> bool:
        """Whether there is a key at all: a variable that is not set leaves none."""
        return bool(self.key or self.sha256)

    def digest(self) -> bytes:
        return bytes.fromhex(self.sha256) if self.sha256 else digest_of(self.key.get_secret_value() if self.key else "")

    def principal(self) -> Principal:
        return Principal(
            name=self.name,
            models=self.models,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            max_concurrent=self.max_concurrent,
            log_content=self.log_content,
        )


class Ring:
    """All keys that are given, by digest. Never changes: a reload makes another. Raises ValueError for a key that is there twice."""

    def __init__(self, entries: Iterable[KeyEntry]) -> None:
        self._known: dict[bytes, tuple[bytes, Principal, float]] = {}
        for entry in entries:
            if not entry.given:
                continue
            digest = entry.digest()
            if digest in self._known:
                raise ValueError(f"{entry.name!r} has the same key as {self._known[digest][1].name!r}: give each key once")
            end = entry.expires.timestamp() if entry.expires else float("inf")
            self._known[digest] = (digest, entry.principal(), 0.0 if entry.disabled else end)

    def find(self, key: str | None, now: float) -> Principal | None:
        """Whose key it is; None for no key and for a wrong, mistyped, disabled or expired one."""
        if key is None or is_mistyped(key):
            return None
        for digest in _digests(key):
            stored, principal, end = self._known.get(digest, _NOBODY)
            if hmac.compare_digest(stored, digest) and now < end:
                return principal
        return None


def _digests(key: str) -> list[bytes]:
    """What a key from a header may be the digest of.

    Headers come as Latin-1. Most clients send other letters as UTF-8, some as Latin-1.
    """
    if key.isascii():
        return [digest_of(key)]
    texts = [key.encode("utf-8", "surrogatepass")]
    with contextlib.suppress(UnicodeEncodeError):
        texts.append(key.encode("latin-1"))
    return [hashlib.sha256(text).digest() for text in texts]
