"""What a reload cannot change. It stays as it was until the restart, in a process that runs on and in one that takes another's place."""

from __future__ import annotations

from collections.abc import Collection

from tornado_gateway.config import Settings

_AT_THE_START = (
    "host",
    "port",
    "max_header_bytes",
    "max_connections",
    "max_connections_per_address",
    "keepalive_seconds",
    "body_seconds",
)
"""Of the section `server`: where it listens, and what it takes there."""


def needs_restart(running: Settings, new: Settings) -> list[str]:
    """Keys that differ and are read at the start only."""
    changed = [f"server.{key}" for key in _AT_THE_START if getattr(running.server, key) != getattr(new.server, key)]
    if running.upstream != new.upstream:
        changed.append("upstream")
    if _switches_tls(running, new):
        changed.append("server.tls")
    if [entry.name for entry in running.plugins] != [entry.name for entry in new.plugins]:
        changed.append("plugins")
    return changed


def in_force(running: Settings, new: Settings, kept: Collection[str] = ()) -> Settings:
    """What counts after a reload: `new`, as far as a server that runs with `running` takes it.

    `kept` names the plugins that go on with the settings they had. A plugin that `new` does not list runs on too.
    """
    server = {key: getattr(running.server, key) for key in _AT_THE_START}
    if _switches_tls(running, new):
        server["tls"] = running.server.tls
    taken = {entry.name: entry for entry in new.plugins if entry.name not in kept}
    return new.model_copy(
        update={
            "server": new.server.model_copy(update=server),
            "upstream": running.upstream,
            "plugins": tuple(taken.get(entry.name, entry) for entry in running.plugins),
        }
    )


def _switches_tls(running: Settings, new: Settings) -> bool:
    return (running.server.tls is None) != (new.server.tls is None)
