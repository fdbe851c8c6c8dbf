"""Certificates for clients that come by https."""

from __future__ import annotations

import ssl

from tornado_gateway.config import Settings
from tornado_gateway.hookspecs import StartupRefused


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """A context made of the files as they are now, None where clients come by http. Raises `StartupRefused`.

    Made anew on a reload, and never loaded into the old one: a certificate whose key does not fit would leave that one unusable.
    """
    given = settings.server.tls
    if given is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password's prompt: a server has nobody to ask.
        context.load_cert_chain(given.certificate, given.key, password=_no_password)
    except _PasswordWanted as error:
        raise StartupRefused(f"server.tls: the key in {given.key} is encrypted; give one that is not") from error
    except (OSError, ssl.SSLError) as error:
        raise StartupRefused(f"server.tls: the certificate or its key cannot be used: {error}") from error
    return context


class _PasswordWanted(Exception):
    pass


def _no_password() -> str:
    raise _PasswordWanted
