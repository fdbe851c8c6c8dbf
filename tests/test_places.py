import contextlib
import socket
import sys
from collections.abc import Iterator

import pytest

from tornado_gateway.places import Place, Places
from tornado_gateway.server import CannotListen, listen_at

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one socket for all")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(params=["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6"))])
def places(request: pytest.FixtureRequest) -> Iterator[Places]:
    """Two, at both of which a worker listens."""
    with contextlib.closing(Places(request.param, 0, 2)) as two:
        for place in two:
            work_at(place)
        yield two


def work_at(place: Place) -> None:
    """What a worker does when it is ready."""
    place.open()
    for bound in place.sockets:
        bound.listen(128)
        bound.setblocking(False)
    place.serve()


def address_of(place: Place) -> tuple[str, int]:
    host, port = place.sockets[0].getsockname()[:2]
    return host, port


def connect(address: tuple[str, int], count: int = 40) -> list[socket.socket]:
    return [socket.create_connection(address, timeout=5) for _ in range(count)]


def accept(place: Place) -> int:
    """How many waited there."""
    count = 0
    for bound in place.sockets:
        with contextlib.suppress(BlockingIOError):
            while True:
                bound.accept()[0].close()
                count += 1
    return count


def close(connections: list[socket.socket]) -> None:
    for connection in connections:
        connection.close()


def test_each_place_has_sockets_of_its_own_at_one_address(places: Places) -> None:
    first, second = places

    connections = connect(address_of(first))

    assert address_of(first) == address_of(second)
    assert 0 < accept(first) < 40 > accept(second) > 0
    close(connections)


def test_who_connects_while_a_place_is_vacant_comes_to_another(places: Places) -> None:
    first, second = places

    second.vacate()
    connections = connect(address_of(first))
    second.open()  # for a worker that is not ready yet
    connections += connect(address_of(first))

    assert accept(first) == 80
    close(connections)


def test_a_place_is_taken_again_also_when_all_were_vacant(places: Places) -> None:
    first, second = places
    address = address_of(first)

    for place in places:
        place.vacate()
    with pytest.raises(ConnectionRefusedError):
        connect(address, 1)
    for place in places:
        work_at(place)
    connections = connect(address)

    assert address_of(second) == address
    assert 0 < accept(first) < 40 > accept(second) > 0
    close(connections)


def test_who_waits_at_a_place_that_becomes_vacant_is_reset(places: Places) -> None:
    first, second = places
    connections = connect(address_of(first))

    second.vacate()

    waiting = accept(first)
    gone = 0
    for connection in connections:
        try:
            gone += connection.recv(1) != b""
        except ConnectionResetError:
            gone += 1
    assert gone == 40 - waiting > 0
    close(connections)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # Tornado leaves a socket that it could not bind
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_address_stays_ours_while_all_are_vacant_and_is_free_when_all_are_closed(places: Places) -> None:
    host, port = address_of(places[0])
    connections = connect((host, port))
    outlasting = [bound.accept()[0] for place in places for bound in place.sockets]

    for place in places:
        place.vacate()
    with pytest.raises(CannotListen, match="in use"):
        listen_at(host, port)
    places.close()
    again = listen_at(host, port)

    close([*connections, *outlasting, *again])


def test_a_place_listens_from_its_first_worker_until_it_is_vacant(places: Places) -> None:
    place = places[1]
    assert place.listens
    assert place.served.is_set()

    place.vacate()
    place.open()

    assert not place.listens
    assert place.served.is_set()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # as above
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_address_that_another_program_has_is_an_error_even_if_it_shares() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()

        with pytest.raises(CannotListen, match="in use"):
            Places("127.0.0.1", other.getsockname()[1], 2)
