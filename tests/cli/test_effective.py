from pathlib import Path

from pydantic import BaseModel, SecretStr

from tornado_gateway.cli.effective import MASK, effective
from tornado_gateway.config import Settings
from tornado_gateway.loading import Loaded


class Inner(BaseModel):
    password: str = "canary"
    key_file: Path = Path("keys")
    max_tokens: int = 3


class Own(BaseModel):
    api_key: str = "canary"
    hidden: SecretStr = SecretStr("canary")
    inner: tuple[Inner, ...] = (Inner(),)
    seconds: float = 2.0


def test_what_is_named_like_a_secret_is_masked_in_plugins() -> None:
    shown = effective(Loaded(Settings(), {"own": Own()}, None, ""))

    assert shown["plugins"] == [
        {
            "own": {
                "api_key": MASK,
                "hidden": MASK,
                "inner": [{"password": MASK, "key_file": "keys", "max_tokens": 3}],
                "seconds": 2,
            }
        }
    ]


def test_whole_numbers_are_shown_as_people_write_them() -> None:
    assert str(effective(Loaded(Settings(), {}, None, ""))["server"]["drain_seconds"]) == "30"


def test_what_looks_like_a_reference_stays_what_it_is_when_read_again() -> None:
    settings = Settings.model_validate({"models": {"aliases": {"a": "${HOME}"}}})

    assert effective(Loaded(settings, {}, None, ""))["models"]["aliases"] == {"a": ["$${HOME}"]}
