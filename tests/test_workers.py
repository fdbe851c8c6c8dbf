import socket
import sys

import pytest

from tornado_gateway.config import Settings
from tornado_gateway.workers import listen


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one socket for all")
def test_each_place_has_a_listening_socket_of_its_own_at_one_address() -> None:
    places = listen(Settings.model_validate({"server": {"port": 0}}), 3)

    names = {bound.getsockname() for place in places for bound in place}

    assert len(places) == 3
    assert len(names) == 1
    assert len({bound.fileno() for place in places for bound in place}) == 3
    for place in places:
        for bound in place:
            bound.close()


@pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning"
)  # Tornado leaves a socket that it could not bind to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_address_that_another_program_has_is_an_error_even_if_it_shares() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = Settings.model_validate({"server": {"port": other.getsockname()[1]}})

        with pytest.raises(OSError, match="in use"):
            listen(settings, 2)
