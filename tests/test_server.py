import socket

import pytest
from serving import AUTH

from tornado_gateway.app import Gateway
from tornado_gateway.config import Settings
from tornado_gateway.server import address_of, listener_for


@pytest.mark.parametrize(
    ("share", "given", "expected"),
    [
        (1, {}, (100, 50)),
        (2, {}, (50, 25)),
        (3, {"max_connections_per_address": 10}, (34, 4)),
        (1, {"max_connections": 1}, (1, 1)),
    ],
)
async def test_a_worker_takes_its_share_of_the_connections(
    share: int, given: dict[str, int], expected: tuple[int, int]
) -> None:
    settings = Settings.model_validate({"server": {"max_connections": 100, **given}, "plugins": [AUTH]})
    async with Gateway(settings) as gateway:
        listener = listener_for(gateway, settings, None, share=share)

        assert (listener._bounds.most, listener._bounds.most_per_address) == expected


def test_an_address_is_shown_as_it_is_typed() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]

        assert address_of(bound, tls=False) == f"http://127.0.0.1:{port}"
        assert address_of(bound, tls=True) == f"https://127.0.0.1:{port}"
