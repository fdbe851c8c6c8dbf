import re
import zlib

from tornado_gateway.cli.keys import ALPHABET, checksum, new_key
from tornado_gateway.config import Settings
from tornado_gateway.discovery import plugin_settings


def test_a_key_is_prefix_random_and_checksum() -> None:
    key = new_key()

    assert re.fullmatch(r"tg_[0-9A-Za-z]{49}", key)
    assert checksum(key[:-6]) == key[-6:]


def test_no_two_keys_are_the_same() -> None:
    assert len({new_key() for _ in range(100)}) == 100


def test_the_checksum_is_crc32_in_six_digits_of_base_62() -> None:
    for text in ("tg_", "tg_0", "tg_abc"):
        digits = checksum(text)

        assert len(digits) == 6
        assert sum(ALPHABET.index(digit) * 62**place for place, digit in enumerate(reversed(digits))) == zlib.crc32(
            text.encode()
        )


def test_the_auth_plugin_takes_it() -> None:
    """It refuses `tg_` keys whose checksum is wrong, by an algorithm of its own."""
    assert plugin_settings(Settings.model_validate({"plugins": [{"auth": {"keys": [{"name": "a", "key": new_key()}]}}]}))
