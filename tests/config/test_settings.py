from typing import Any

import pytest
from pydantic import ValidationError

from tornado_gateway.config import PluginEntry, Settings
from tornado_gateway.config.problems import faults, key_path
from tornado_gateway.wire.dialect import Limits


def told(values: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    return [f"{key_path(path)}: {message}" for path, message in faults(caught.value, Settings, secretive=False)]


def test_settings_are_frozen() -> None:
    settings = Settings()

    with pytest.raises(ValidationError):
        settings.server.port = 1


def test_the_limits_are_those_of_the_dialects() -> None:
    assert Limits(**Settings().limits.model_dump()) == Limits()


def test_every_field_has_a_description_and_fits_its_schema() -> None:
    schema = Settings.model_json_schema()

    for section in ("ServerSettings", "UpstreamSettings", "ModelsSettings", "LimitsSettings", "ModelDefaults", "TLSSettings"):
        for name, field in schema["$defs"][section]["properties"].items():
            assert field.get("description"), f"{section}.{name}"
    assert schema["$defs"]["ServerSettings"]["properties"]["port"]["maximum"] == 65535


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert told({"server": {"port": "abc", "tls": {}}, "upstream": {"connect_seconds": 0}, "sever": {}}) == [
        'server.port: must be a number from 0 to 65535 (got "abc")',
        "server.tls.certificate: must be given",
        "server.tls.key: must be given",
        "upstream.connect_seconds: must be a number of seconds above 0 to 31536000 (got 0)",
        "sever: unknown key; did you mean `server`?",
    ]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [({}, 600), ({"first_byte_seconds": 2}, 2), ({"first_byte_seconds": 900}, 900), ({"whole_seconds": 5}, 5)],
)
def test_whole_answers_have_the_time_of_first_bytes_once_that_is_set(given: Any, seconds: float) -> None:
    assert Settings.model_validate({"upstream": given}).upstream.seconds_until_whole == seconds


def test_headers_for_ollama_are_not_shown() -> None:
    settings = Settings.model_validate({"upstream": {"headers": {"Authorization": "Bearer canary"}}})

    assert settings.upstream.headers["Authorization"].get_secret_value() == "Bearer canary"
    assert "canary" not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize("headers", [{"a b": "x"}, {"X": "a\nb"}, {"X": 4}, {"Content-Length": "3"}, ["X"], {"X": "ü"}])
def test_headers_that_cannot_be_sent_are_refused(headers: Any) -> None:
    assert told({"upstream": {"headers": headers}})[0].startswith("upstream.headers: ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"headers": "Basic canary"}, "upstream.headers: must be a mapping (lines of `Name: value`)"),
        ({"headers": {"X": "y", "X-Key canary": None}}, "upstream.headers: number 2 does not have the name of a header"),
        ({"headers": {"canary": None}}, "upstream.headers: number 1 has no value"),
        ({"headers": {"X-Key": ["canary"]}}, "upstream.headers: X-Key must be a printable ASCII text"),
        ({"url": "http://h:1?token=canary"}, "upstream.url: must not hold a query or a fragment"),
        ({"url": "canary"}, "upstream.url: must begin with http:// or https://"),
        ({"url": "http://h\ncanary"}, "upstream.url: must be a text that is not empty, without line breaks"),
        ("Basic canary", "upstream: must be a mapping (lines of `key: value`)"),
    ],
)
def test_c09_what_may_hold_a_secret_is_not_repeated_when_it_is_wrong(settings: Any, message: str) -> None:
    (line,) = told({"upstream": settings})

    assert line.startswith(message)
    assert "canary" not in line


def test_c09_a_key_in_the_place_of_its_file_is_not_repeated() -> None:
    assert told({"server": {"tls": {"certificate": "a", "key": "-----BEGIN PRIVATE KEY-----\ncanary"}}}) == [
        "server.tls.key: must be a text that is not empty, without line breaks"
    ]


def test_an_alias_leads_to_one_model_or_to_a_list() -> None:
    settings = Settings.model_validate({"models": {"aliases": {"a": "x", "*": ["y", "*"]}}})

    assert settings.models.aliases == {"a": ("x",), "*": ("y", "*")}
    assert told({"models": {"aliases": {"a": []}}})[0].startswith("models.aliases.a: must be the name of a model")


def test_defaults_of_a_model_hold_what_ollama_takes() -> None:
    given = {"options": {"num_ctx": 8192, "stop": ["x"]}, "keep_alive": "5m", "think": "low", "allow": ["keep_alive"]}
    defaults = Settings.model_validate({"models": {"defaults": {"llama3.2:1b": given}}}).models.defaults["llama3.2:1b"]

    assert defaults.model_dump() == {**given, "allow": ("keep_alive",)}
    assert (
        len(told({"models": {"defaults": {"m": {"keep_alive": "5", "think": "huge", "allow": ["x"], "options": {"a": {}}}}}}))
        == 4
    )


def test_a_plugin_is_a_name_or_a_name_with_settings() -> None:
    settings = Settings.model_validate({"plugins": ["cache", {"auth": None}, {"x": {"y": 1}}]})

    assert settings.plugins == (PluginEntry("cache"), PluginEntry("auth"), PluginEntry("x", {"y": 1}))


@pytest.mark.parametrize("item", [None, 3, "", {}, {"a": 1}, {"a": {}, "b": 1}, ["a"], {"a": {1: 2}}])
def test_what_is_no_plugin_is_refused_at_its_place(item: Any) -> None:
    assert told({"plugins": ["cache", item]})[0].startswith("plugins[1]: ")


def test_plugins_are_never_left_open_by_accident() -> None:
    """An empty `plugins:` could mean the default list or none at all: with authentication at stake nothing is guessed."""
    assert told({"plugins": None}) == ["plugins: must be a list; write [] for none"]


def test_settings_of_plugins_are_not_shown() -> None:
    assert "canary" not in repr(Settings.model_validate({"plugins": [{"auth": {"keys": [{"key": "canary"}]}}]}))
