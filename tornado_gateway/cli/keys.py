"""Keys: `tg_`, 256 random bits in letters and digits, and a checksum, so that scanners recognise them and typing errors are seen."""

from __future__ import annotations

import secrets
import string
import zlib

PREFIX = "tg_"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_CHARACTERS = 43
CHECKSUM_CHARACTERS = 6


def new_key() -> str:
    """A key that nobody has had before."""
    body = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return body + checksum(body)


def checksum(text: str) -> str:
    """CRC32 of ASCII text as six digits of base 62.

    >>> checksum("tg_")
    '2Ir5UB'
    """
    number, digits = zlib.crc32(text.encode("ascii")), ""
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
