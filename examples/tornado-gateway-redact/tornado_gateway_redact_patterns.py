"""What personal data looks like, and where a text that is still coming in may be cut. Knows nothing of records."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28, "CH": 21,
    "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MD": 24,
    "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29,
    "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "VA": 22,
    "VG": 24, "XK": 20,
}  # fmt: skip

LONGEST = 320
"""An e-mail address may have 64 + 1 + 255 characters; all else is shorter."""
_HELD_AT_MOST = 2 * LONGEST

Check = Callable[[str], int]
"""How many characters of a candidate really are one, from its beginning; 0 for none."""


def _is_card(text: str) -> int:
    """By the checksum of ISO/IEC 7812 (Luhn)."""
    digits = [int(char) for char in reversed(text) if char.isdigit()]
    total = sum(digit if place % 2 == 0 else sum(divmod(digit * 2, 10)) for place, digit in enumerate(digits))
    return len(text) if total % 10 == 0 and any(digits) else 0


def _is_iban(text: str) -> int:
    """By length and checksum (ISO 13616). Words in capitals behind it do not belong to it."""
    length, seen = _IBAN_LENGTHS.get(text[:2], 0), 0
    for end, char in enumerate(text, 1):
        seen += char != " "
        if seen == length:
            compact = text[:end].replace(" ", "")
            number = "".join(str(int(char, 36)) for char in compact[4:] + compact[:4])
            return end if int(number) % 97 == 1 else 0
    return 0


def _is_phone(text: str) -> int:
    """With 8 to 15 digits (E.164): dates and amounts have other shapes, or fewer."""
    return len(text) if 8 <= sum(char.isdigit() for char in text) <= 15 else 0


_NUMBER = r"[0-9](?:(?: ?[./()-]{1,2} ?| )?[0-9])"
PATTERNS: Mapping[str, tuple[re.Pattern[str], Check]] = {
    "email": (re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"), len),
    "iban": (re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}"), _is_iban),
    "card": (re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])"), _is_card),
    "phone": (
        re.compile(
            rf"(?<![A-Za-z0-9])(?:\+\(?{_NUMBER}{{7,14}}|\(?0{_NUMBER}{{8,13}}|\(?[2-9][0-9]{{2}}\)?[ .-][0-9]{{3}}[ .-][0-9]{{4}})(?![0-9])"
        ),
        _is_phone,
    ),
}
"""In the order in which they are looked for: an IBAN holds what could be a card, a card what could be a phone."""


def redacted(text: str, words: Mapping[str, str]) -> str:
    """A whole text, with each kind in `words` replaced by its word."""
    for kind, word in words.items():
        pattern, check = PATTERNS[kind]
        pieces, place = [], 0
        for start, end in _found(pattern, check, text):
            pieces += [text[place:start], word]
            place = end
        text = "".join(pieces) + text[place:] if pieces else text
    return text


def _found(pattern: re.Pattern[str], check: Check, text: str) -> Iterator[tuple[int, int]]:
    place = 0
    while match := pattern.search(text, place):
        length = check(match[0])
        if length:
            yield match.start(), match.start() + length
        place = match.start() + (length or 1)


class Stream:
    """A text that comes in pieces. However it is cut, what goes out is the whole text, redacted."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = words
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can go out now: all that no number or address can begin in."""
        if not piece:
            return ""
        text = self._held + piece
        cut = self._cut(text)
        self._held = text[cut:]
        return redacted(text[:cut], self._words)

    def finish(self) -> str:
        """What is still held back."""
        text, self._held = self._held, ""
        return redacted(text, self._words)

    def _cut(self, text: str) -> int:
        tail = _TAIL.search(text)
        cut = tail.start() if tail else len(text)
        if len(text) - cut <= _HELD_AT_MOST:
            return cut
        # Nothing that is looked for is so long: what begins far enough from the end is known already, and only it must stay whole.
        cut = len(text) - LONGEST
        for kind in self._words:
            for start, end in _found(*PATTERNS[kind], text):
                if start < cut < end:
                    cut = end
        return cut


_WORD = r"[A-Za-z0-9._%+@()/-]"
_PART = rf"(?:(?=[A-Za-z._%+@()/-]*[0-9]){_WORD}+|[A-Z]{{1,4}}|[-+()/.]+)"
"""A word that can be a part of a number with blanks in it: it has a digit, or is a group of an IBAN, or holds digits together."""
_TAIL = re.compile(rf"(?:(?<!{_WORD}){_PART} )*(?<!{_WORD}){_WORD}*\Z")
"""The end of a text that may go on as a number or an address."""
