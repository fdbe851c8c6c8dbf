"""Certificates for clients that come by https."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from tornado_gateway.config import Settings, TLSSettings
from tornado_gateway.hookspecs import StartupRefused
from tornado_gateway.memory import in_memory

_OPEN_FILES = Path("/dev/fd")
"""Where a process finds its open files by number. Not there in some chroots."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain, and its key: what stood in the files."""

    certificate: bytes
    key: bytes = field(repr=False)


def read_pair(settings: Settings) -> Pair | None:
    """The files as they are now, None where clients come by http. Raises `StartupRefused` when they cannot be read."""
    given = settings.server.tls
    if given is None:
        return None
    try:
        return Pair(Path(given.certificate).read_bytes(), Path(given.key).read_bytes())
    except OSError as error:
        raise _unusable(error) from error


def tls_context(settings: Settings, pair: Pair | None = None) -> ssl.SSLContext | None:
    """A context made of `pair`, else of the files as they are now; None where clients come by http. Raises `StartupRefused`.

    Made anew on a reload, and never loaded into the old one: a certificate whose key does not fit would leave that one unusable.
    """
    given = settings.server.tls
    if given is None:
        return None
    if pair is None or not _OPEN_FILES.exists():
        return _context(given.certificate, given.key, given)
    # OpenSSL reads from files, Python's `ssl` has no other way.
    with in_memory(pair.certificate) as certificate, in_memory(pair.key) as key:
        return _context(str(_OPEN_FILES / str(certificate.fileno())), str(_OPEN_FILES / str(key.fileno())), given)


def _context(certificate: str, key: str, given: TLSSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password's prompt: a server has nobody to ask.
        context.load_cert_chain(certificate, key, password=_no_password)
    except _PasswordWanted as error:
        raise StartupRefused(f"server.tls: the key in {given.key} is encrypted; give one that is not") from error
    except (OSError, ssl.SSLError) as error:
        raise _unusable(error) from error
    return context


def _unusable(error: OSError) -> StartupRefused:
    return StartupRefused(f"server.tls: the certificate or its key cannot be used: {error}")


class _PasswordWanted(Exception):
    pass


def _no_password() -> str:
    raise _PasswordWanted
