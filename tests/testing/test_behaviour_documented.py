"""`docs/testing.md` tells of all that there is."""

import re
from dataclasses import fields
from pathlib import Path

from tornado_gateway import testing
from tornado_gateway.testing import Behaviour, Ledger, RequestEntry

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text("utf-8")
COMMANDS = (Path(testing.__file__).parent / "control.py").read_text("utf-8")


def test_every_field_of_a_behaviour_is_told() -> None:
    assert [field.name for field in fields(Behaviour) if f"`{field.name}`" not in PAGE] == []


def test_every_command_is_told() -> None:
    commands = re.findall(r'case "(\w+) (\w+)"', COMMANDS)

    assert len(commands) >= 11
    assert [f"{method} {name}" for method, name in commands if f"`{method} /control/{name}" not in PAGE] == []


def test_what_is_told_of_the_ledger_exists() -> None:
    for name in ("answered", "left_at", "records_sent", "first_byte_at", "bytes_sent", "arrived_at"):
        assert name in {field.name for field in fields(RequestEntry)}
        assert f"`{name}`" in PAGE
    for name in ("requests_seen", "in_flight", "max_in_flight", "connections_opened", "connections_closed", "open_connections"):
        assert hasattr(Ledger(), name)
        assert f"`{name}`" in PAGE


def test_public_names_exist() -> None:
    assert all(hasattr(testing, name) for name in testing.__all__)
