from typing import Any

import pytest

from tornado_gateway.config import Settings
from tornado_gateway.restart import in_force, needs_restart

TLS = {"certificate": "a.pem", "key": "a.key"}
RUNNING = Settings.model_validate({"server": {"port": 1}, "plugins": [{"auth": {"keys": ["old"]}}, "cache"]})


def changed(**sections: Any) -> Settings:
    return Settings.model_validate({"server": {"port": 1}, "plugins": [{"auth": {"keys": ["new"]}}, "cache"], **sections})


@pytest.mark.parametrize(
    ("new", "named"),
    [
        (changed(), []),
        (changed(models={"aliases": {"a": "b"}}), []),
        (changed(server={"port": 2, "max_connections": 7}), ["server.port", "server.max_connections"]),
        (changed(server={"port": 1, "tls": TLS}), ["server.tls"]),
        (changed(upstream={"idle_seconds": 1}), ["upstream"]),
        (changed(plugins=["auth"]), ["plugins"]),
        (changed(plugins=["cache", "auth"]), ["plugins"]),
    ],
)
def test_what_a_reload_cannot_change_is_named_and_stays_as_it_was(new: Settings, named: list[str]) -> None:
    assert needs_restart(RUNNING, new) == named

    after = in_force(RUNNING, new)

    assert needs_restart(RUNNING, after) == []
    assert after.models == new.models
    assert in_force(after, RUNNING) == RUNNING


def test_plugins_take_new_settings_but_for_those_that_kept_theirs() -> None:
    new = changed(plugins=[{"cache": {"ttl_seconds": 5}}, {"auth": {"keys": ["new"]}}, "rate_limit"])

    taken = in_force(RUNNING, new)
    kept = in_force(RUNNING, new, ["auth"])

    assert [(entry.name, entry.settings) for entry in taken.plugins] == [
        ("auth", {"keys": ["new"]}),
        ("cache", {"ttl_seconds": 5}),
    ]
    assert [(entry.name, entry.settings) for entry in kept.plugins] == [
        ("auth", {"keys": ["old"]}),
        ("cache", {"ttl_seconds": 5}),
    ]


def test_a_plugin_that_is_listed_no_more_goes_on_with_the_last_settings_it_had() -> None:
    """Were it those of the start, a key that was revoked in between would work again."""
    once, twice = changed(), changed(plugins=[])

    assert in_force(in_force(RUNNING, once), twice).plugins == once.plugins


def test_another_certificate_needs_no_restart() -> None:
    running, new = changed(server={"tls": TLS}), changed(server={"tls": {"certificate": "b.pem", "key": "b.key"}})

    assert needs_restart(running, new) == []
    assert in_force(running, new) == new
