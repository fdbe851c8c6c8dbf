"""What handlers see of a connection is the same wherever their routes are served."""

import pytest

from tornado_gateway.downstream import ClientConnection
from tornado_gateway.handlers.embedded import TornadoPeer
from tornado_gateway.handlers.peer import Peer, linger_bounds

PARTS = [name for name in vars(Peer) if not name.startswith("_")]


@pytest.mark.parametrize("kind", [ClientConnection, TornadoPeer])
@pytest.mark.parametrize("part", PARTS)
def test_both_kinds_of_connection_have_every_part(kind: type, part: str) -> None:
    assert isinstance(getattr(kind, part), property) is isinstance(getattr(Peer, part), property)


def test_who_may_upload_is_listened_to_for_longer() -> None:
    stranger, known = linger_bounds(generous=False), linger_bounds(generous=True)

    assert stranger[0] < known[0]
    assert stranger[1] < known[1]
