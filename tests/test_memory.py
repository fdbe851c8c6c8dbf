import os

import psutil

from tornado_gateway.memory import in_memory


def test_a_file_in_memory_is_read_from_its_beginning_by_whoever_is_handed_it() -> None:
    with in_memory(b"a secret") as file:
        assert os.read(file.fileno(), 100) == b"a secret"


def test_it_is_closed_with_the_block_and_not_inherited() -> None:
    before = psutil.Process().num_fds()

    with in_memory(b"a secret") as file:
        assert not os.get_inheritable(file.fileno())

    assert psutil.Process().num_fds() == before
