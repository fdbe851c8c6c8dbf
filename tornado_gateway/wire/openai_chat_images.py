"""Data URLs to what Ollama takes: standard base64 with padding, for images and sound; text for files of text.

Nothing is fetched: an address in a request would let callers reach whatever this machine reaches. Source of the form:
RFC 2397, and the spellings that clients really send (upper case, parameters, URL-safe alphabet, no padding, percent signs).
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

from tornado_gateway.errors import InvalidRequest, UnsupportedValue

_STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_BLANKS = b" \t\r\n\f"
_LONGEST_HEAD = 512
_SNIFFED = 48
"""Base64 characters that are decoded to see what a file really is."""

_LABELS = frozenset({"image/png", "image/jpeg", "image/jpg", "image/pjpeg", "image/webp"})
_NO_LABELS = frozenset({"", "application/octet-stream", "image/*"})
_TEXT_LABELS = frozenset(
    {
        "application/json",
        "application/xml",
        "application/yaml",
        "application/x-yaml",
        "application/javascript",
        "application/sql",
    }
)
_SUPPORTED = frozenset({"PNG", "JPEG", "WebP"})
_SAY_INSTEAD = "Send a PNG, JPEG or WebP image as a data URL, for example `data:image/png;base64,...`."


@dataclass(frozen=True, slots=True)
class DataUrl:
    media_type: str
    """In lower case, without parameters; "" when the URL does not say."""
    base64: str
    """Standard alphabet, padded, without blanks."""


def read_data_url(url: str, param: str) -> DataUrl:
    """Raises `UnsupportedValue` for an address, `InvalidRequest` for what cannot be read."""
    url = url.lstrip()
    comma = url.find(",", 0, _LONGEST_HEAD)
    if url[:5].lower() != "data:":
        raise UnsupportedValue(
            f"`{param}` must be a data URL: this gateway fetches nothing from addresses. {_SAY_INSTEAD}", param=param
        )
    if comma < 0:
        raise InvalidRequest(f"`{param}` is a data URL without a comma before its data.", param=param)
    media_type, *parameters = [piece.strip().lower() for piece in url[5:comma].split(";")]
    data = url[comma + 1 :]
    if "base64" in parameters:
        return DataUrl(media_type, standard_base64(unquote(data) if "%" in data else data, param))
    raw = unquote_to_bytes(data)
    return DataUrl(media_type, binascii.b2a_base64(raw, newline=False).decode())


def standard_base64(data: str, param: str) -> str:
    """Base64 of any spelling in the one that Ollama accepts. What is already so is checked without being decoded."""
    raw = data.encode(errors="replace")
    # What remains without the alphabet: nothing but padding in the usual case, so large images cost one quick pass.
    odd = raw.translate(None, _STANDARD)
    if odd.strip(b"="):
        raw = raw.translate(_FROM_URL_SAFE, _BLANKS)
        odd = raw.translate(None, _STANDARD)
    digits = raw.rstrip(b"=")
    if not digits or odd.strip(b"=") or b"=" in digits or len(digits) % 4 == 1:
        raise InvalidRequest(f"`{param}` does not hold valid base64 data.", param=param)
    return (digits + b"=" * (-len(digits) % 4)).decode()


def image_data(url: str, param: str) -> str:
    """The base64 of an image's data URL. What the bytes are counts before what the label says."""
    data = read_data_url(url, param)
    if not data.base64:
        raise InvalidRequest(f"`{param}` does not hold an image.", param=param)
    kind = sniff(data.base64)
    if kind is not None and kind not in _SUPPORTED:
        raise UnsupportedValue(
            f"`{param}` is a {kind} file, which Ollama does not take as an image. {_SAY_INSTEAD}", param=param
        )
    # Bytes that nothing is known about pass under a right label: Ollama knows best what it can read.
    if data.media_type in _LABELS or (data.media_type in _NO_LABELS and (kind or not data.media_type)):
        return data.base64
    raise UnsupportedValue(f"`{param}` has a media type that Ollama does not take as an image. {_SAY_INSTEAD}", param=param)


def file_content(url: str, param: str) -> tuple[str, str | None]:
    """The text of a file, or else its image: one of the two."""
    data = read_data_url(url, param)
    kind = data.media_type
    if kind.startswith("image/"):
        return "", image_data(url, param)
    if not (kind.startswith("text/") or kind in _TEXT_LABELS or kind.endswith(("+json", "+xml"))):
        raise UnsupportedValue(
            f"`{param}` must be a file of text or an image: Ollama reads no other files. Send its text as a text part.",
            param=param,
        )
    try:
        return binascii.a2b_base64(data.base64).decode(), None
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"`{param}` is not text in UTF-8.", param=param) from error


def sniff(base64: str) -> str | None:
    """What a file is by its first bytes; None when they tell nothing."""
    head = binascii.a2b_base64(base64[:_SNIFFED])
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return "HEIC, AVIF or MP4"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


_MAGIC = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"<?xml", "SVG"),
    (b"RIFF", "RIFF"),
)
