"""What a key is, what an entry says, and how one is found."""

import string
import zlib
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tornado_gateway_auth_keys import KeyEntry, Ring, checksum, digest_of, is_mistyped, new_key

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp()
DAY = 24 * 60 * 60


def entry(**fields: object) -> KeyEntry:
    return KeyEntry.model_validate({"name": "alice", **fields})


def test_a_new_key_has_prefix_randomness_and_checksum() -> None:
    key = new_key()

    assert key.startswith("tg_")
    assert len(key) == 3 + 43 + 6
    assert key[3:].isalnum()
    assert not is_mistyped(key)
    assert key != new_key()


def test_the_checksum_is_the_crc32_in_six_digits_of_base_62() -> None:
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase

    digits = checksum("tg_abc")

    number = 0
    for digit in digits:
        number = number * 62 + alphabet.index(digit)
    assert len(digits) == 6
    assert number == zlib.crc32(b"tg_abc")
    assert checksum("") == "000000"


@given(st.integers(3, 51), st.sampled_from(string.ascii_letters + string.digits))
def test_a_changed_character_is_noticed(place: int, character: str) -> None:
    key = new_key()
    changed = key[:place] + character + key[place + 1 :]

    assert is_mistyped(changed) == (changed != key)


@pytest.mark.parametrize("key", ["My API Key", "sk-123", "TG_x", "ключ", ""])
def test_keys_of_other_forms_have_no_checksum(key: str) -> None:
    assert not is_mistyped(key)


@pytest.mark.parametrize("key", ["tg_", "tg_a", "tg_abcdef", "tg_ключключ"])
def test_a_short_or_foreign_key_with_the_prefix_is_mistyped(key: str) -> None:
    assert is_mistyped(key)


def test_a_key_is_found_plain_or_by_its_digest() -> None:
    ring = Ring([entry(key="one"), entry(name="bob", sha256=digest_of("two").hex().upper())])

    found = [ring.find(key, NOON) for key in ("one", "two", "three", "", None)]

    assert [principal and principal.name for principal in found] == ["alice", "bob", None, None, None]


def test_a_digest_is_no_key() -> None:
    digest = digest_of("secret").hex()

    assert Ring([entry(sha256=digest)]).find(digest, NOON) is None


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_key_with_umlauts_is_found_in_either_spelling(encoding: str) -> None:
    """Headers come decoded as Latin-1, whatever the client meant."""
    ring = Ring([entry(key="schlüssel à")])

    assert ring.find("schlüssel à".encode(encoding).decode("latin-1"), NOON)


def test_what_a_key_may_do_is_in_its_principal() -> None:
    given = {"requests_per_minute": 3, "tokens_per_minute": 4, "max_concurrent": 5, "log_content": True}
    ring = Ring([entry(key="k", models=["llama*"], **given)])

    principal = ring.find("k", NOON)

    assert principal
    assert principal.models == ("llama*",)
    assert {name: getattr(principal, name) for name in given} == given
    assert ring.find("k", NOON) is principal


@pytest.mark.parametrize("expires", ["2027-01-31", date(2027, 1, 31)])
def test_a_key_is_valid_through_its_last_day(expires: object) -> None:
    ring = Ring([entry(key="k", expires=expires)])

    assert ring.find("k", NOON)
    assert not ring.find("k", NOON + DAY / 2)


@pytest.mark.parametrize("expires", ["9999-12-31", date.max, "9999-12-31T23:59:59-05:00"])
def test_the_last_day_that_there_is_means_never(expires: object) -> None:
    assert Ring([entry(key="k", expires=expires)]).find("k", NOON + 1000 * 365 * DAY)


@pytest.mark.parametrize("expires", ["2027-01-31T12:00:00Z", "2027-01-31T13:00:00+01:00", datetime(2027, 1, 31, 12)])  # noqa: DTZ001
def test_a_key_with_a_moment_ends_at_that_moment(expires: object) -> None:
    ring = Ring([entry(key="k", expires=expires)])

    assert ring.find("k", NOON - 1)
    assert not ring.find("k", NOON)


def test_a_disabled_key_is_not_found() -> None:
    assert Ring([entry(key="k", disabled=True)]).find("k", NOON) is None


@pytest.mark.parametrize("nothing", [{}, {"key": None}, {"key": ""}, {"key": "  "}, {"sha256": None}, {"sha256": ""}])
def test_an_entry_without_a_key_counts_as_none(nothing: dict[str, object]) -> None:
    ring = Ring([entry(**nothing)])

    assert not entry(**nothing).given
    assert ring.find("", NOON) is None


def test_a_tenant_may_have_several_keys_but_a_key_only_one_tenant() -> None:
    ring = Ring([entry(key="a"), entry(key="b")])

    assert ring.find("a", NOON) == ring.find("b", NOON)
    with pytest.raises(ValueError, match="'bob' has the same key as 'alice'"):
        Ring([entry(key="canary"), entry(name="bob", sha256=digest_of("canary").hex())])


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": " "},
        {"name": "a\nb"},
        {"key": "canary\x00"},
        {"key": "tg_canarycanary"},
        {"key": 7},
        {"sha256": "canary"},
        {"key": "canary", "sha256": "0" * 64},
        {"key": "k", "expires": 20270131},
        {"key": "k", "expires": "canary"},
        {"key": "k", "requests_per_minute": 0},
        {"key": "k", "kez": "canary"},
    ],
)
def test_a_wrong_entry_is_refused_without_showing_what_it_holds(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        entry(**fields)

    assert "canary" not in str(caught.value)


def test_a_key_shows_in_no_repr() -> None:
    one = entry(key="canary")

    assert "canary" not in f"{one!r} {one} {Ring([one])!r} {one.model_dump()}"


def test_a_name_may_be_any_printable_text() -> None:
    assert entry(name="Zoë (lab 3) — 東京", key="k").name == "Zoë (lab 3) — 東京"
