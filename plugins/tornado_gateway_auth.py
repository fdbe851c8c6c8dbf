"""Who may come in: bearer keys, each the key of a tenant with its own models, expiry and limits.

Keys stand in the configuration, plain or as SHA-256, or in a file of their own. Where none is given and only this machine can
reach the server, a key is made for the run. Only digests are kept; no key is ever in a log, an error or a `repr`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from tornado_gateway.hookspecs import AuthenticationFailed, Context, Principal, ServerFacts, StartupRefused, hookimpl
from tornado_gateway_auth_failures import Failures
from tornado_gateway_auth_file import KeyFile, KeyFileBroken
from tornado_gateway_auth_keeper import AuthKeeper
from tornado_gateway_auth_keys import KeyEntry, Ring, digest_of, new_key

REFUSAL = "The API key is missing or not valid. Send it as `Authorization: Bearer KEY`."

_log = logging.getLogger("tornado_gateway.plugins.auth")


class Auth:
    """Answers for every request: a `Principal`, or 401 with the same words for a missing and a wrong key."""

    class Settings(BaseModel):
        """An entry of `keys` whose `key` is not given (an unset variable) counts as no entry."""

        model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

        keys: tuple[KeyEntry, ...] = Field(default=(), description="Who may come in.")
        key_file: Path | None = Field(default=None, description="A file with more keys, which others must not be able to read.")

        @model_validator(mode="after")
        def _each_key_once(self, info: ValidationInfo) -> Auth.Settings:
            more: tuple[KeyEntry, ...] = ()
            if self.key_file and info.context and info.context.get("files"):  # `check` asks what a start would say
                try:
                    more = KeyFile.read(self.key_file).entries
                except KeyFileBroken as error:
                    raise ValueError(str(error)) from None
            Ring([*self.keys, *more])
            return self

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ring = Ring(settings.keys)
        self._file: KeyFile | None = None
        self._run_key: KeyEntry | None = None
        self._made: str | None = None
        self._server: ServerFacts | None = None
        self._failures = Failures()

    @hookimpl
    def keeper(self) -> AuthKeeper:
        return AuthKeeper()

    @hookimpl
    async def startup(self, server: ServerFacts) -> None:
        self._server = server
        if server.shared is not None:
            self._made = await server.shared.call("key_of_the_run")
            self._failures = Failures(server.shared)
        try:
            self._take(self._settings, await self._first(self._settings))
        except (KeyFileBroken, ValueError) as error:
            raise StartupRefused(f"auth: {error}") from error

    @hookimpl
    async def reconfigure(self, settings: Settings) -> None:
        """Count new keys from the next request on. A key file that is broken now leaves the last good one in force."""
        self._take(settings, await self._reread(settings.key_file, settings.keys) if settings.key_file else None)

    @hookimpl
    async def authenticate(self, context: Context) -> Principal:
        principal = self._ring.find(presented_key(context.headers), context.arrived)
        if principal is None:
            await self._failures.hold(context.client, context.clock)
            raise AuthenticationFailed(REFUSAL, headers={"WWW-Authenticate": "Bearer"})
        return principal

    @staticmethod
    def new_key() -> str:
        """A new key with prefix and checksum."""
        return new_key()

    @staticmethod
    def digest(key: str) -> str:
        """What stands in the configuration as `sha256` for a key."""
        return digest_of(key).hex()

    async def _first(self, settings: Settings) -> KeyFile | None:
        """The key file at the start. For a worker that follows others this is a reload: they may have kept what is broken by now."""
        if settings.key_file is None:
            return None
        shared = self._server.shared if self._server else None
        others = await shared.call("key_file") if shared else None
        if others is None:
            return await asyncio.to_thread(KeyFile.read, settings.key_file)
        self._file = KeyFile.from_plain(others["file"]) if others["file"] else None
        return await self._reread(settings.key_file, settings.keys)

    async def _reread(self, path: Path, keys: tuple[KeyEntry, ...]) -> KeyFile | None:
        try:
            file = await asyncio.to_thread(KeyFile.read, path)
            if self._file is not None and self._file.path == path:
                file.check_successor_of(self._file)
            Ring([*keys, *file.entries])
        except (KeyFileBroken, ValueError) as error:
            _warn("key_file_kept", reason=str(error))
            return self._file
        return file

    def _take(self, settings: Settings, file: KeyFile | None) -> None:
        """Make the ring of what is given; changes nothing when it cannot be made."""
        entries = [*settings.keys, *(file.entries if file else ())]
        run_key = None if any(entry.given for entry in entries) else self._key_of_the_run(entries)
        self._ring = Ring([*entries, run_key] if run_key else entries)
        kept = file is not None and file is self._file  # which is no news: another worker may have read a newer one
        self._settings, self._file = settings, file
        if self._server and self._server.shared and not kept:
            self._server.shared.tell("key_file_is", file.plain() if file else None)
        if run_key is not self._run_key and run_key and run_key.key and self._server:
            self._server.announce(f"Key for this run: {run_key.key.get_secret_value()}")
        self._run_key = run_key
        self._tell(entries, run_key)

    def _key_of_the_run(self, entries: list[KeyEntry]) -> KeyEntry:
        if self._server is None or not self._server.loopback:
            where = self._server.host if self._server else "this server"
            raise StartupRefused(
                f"auth: no key is given, and {where} can be reached from other machines: "
                "set OPENAI_API, or add a key under `keys` (`tornado-gateway keygen` makes one)"
            )
        name = entries[0].name if entries else "default"
        return self._run_key or KeyEntry.model_validate({"name": name, "key": self._made or new_key()})

    def _tell(self, entries: list[KeyEntry], run_key: KeyEntry | None) -> None:
        """Say what a person should know: entries that do not count, and whose words may be written down."""
        missing = [entry.name for entry in entries if not entry.given]
        if missing and run_key is None:
            _log.info("keys_not_given", extra={"facts": {"names": missing}})
        logged = [entry.name for entry in entries if entry.given and entry.log_content]
        if logged:
            _warn("log_content_on", names=logged)
            if self._server:
                self._server.announce(f"Prompts and answers of these tenants may be logged: {', '.join(logged)}")


def presented_key(headers: Mapping[str, str]) -> str | None:
    """The one key that a request brings; None when it brings none, or two that differ.

    A header that came twice is joined by commas on its way here, so it is a key that nobody has.
    """
    key = _bearer(headers.get("authorization", ""))
    for name in ("api-key", "x-api-key"):
        # Only what a header's value may be surrounded by: in UTF-8, other "white space" is part of a letter.
        other = headers[name].strip(" \t") if name in headers else ""
        if other and key and other != key:
            return None
        key = key or other
    return key or None


def _bearer(value: str) -> str:
    scheme, _, key = value.strip(" \t").partition(" ")
    return key.strip(" \t") if scheme.lower() == "bearer" else ""


def _warn(event: str, **facts: Any) -> None:
    _log.warning(event, extra={"facts": facts})
