from pathlib import Path
from typing import Any

import msgspec
import pytest

from tornado_gateway.hookspecs import Principal, ServerFacts, SharedUnavailable
from tornado_gateway_auth import Auth
from tornado_gateway_auth_failures import FAILURES_A_MINUTE, Failures
from tornado_gateway_auth_keeper import AuthKeeper
from tornado_gateway_auth_keys import digest_of


class Wire:
    """A worker's line to the keeper, without the processes; cut when there is none."""

    worker = 0

    def __init__(self, keeper: AuthKeeper | None) -> None:
        self._keeper = keeper

    async def call(self, method: str, *args: Any, seconds: float | None = 5.0) -> Any:
        if self._keeper is None:
            raise SharedUnavailable
        return self._sent(getattr(self._keeper, method)(1, *self._sent(args)))

    def tell(self, method: str, *args: Any) -> bool:
        if self._keeper is not None:
            getattr(self._keeper, method)(1, *self._sent(args))
        return self._keeper is not None

    @staticmethod
    def _sent(value: Any) -> Any:
        """As it comes out at the other end."""
        return msgspec.msgpack.decode(msgspec.msgpack.encode(value))


async def worker(keeper: AuthKeeper, **settings: Any) -> Auth:
    """The plugin in a worker that starts now."""
    plugin = Auth(Auth.Settings.model_validate(settings))
    await plugin.startup(ServerFacts("127.0.0.1", 3000, True, print, workers=2, shared=Wire(keeper)))
    return plugin


def write(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file


async def test_all_workers_have_the_same_key_of_the_run() -> None:
    keeper, said = AuthKeeper(), list[str]()
    for _ in range(2):
        plugin = Auth(Auth.Settings())
        await plugin.startup(ServerFacts("127.0.0.1", 3000, True, said.append, workers=2, shared=Wire(keeper)))

    assert said == [f"Key for this run: {keeper.key_of_the_run(1)}"] * 2  # the parent shows it once


def test_failures_are_counted_over_all_workers() -> None:
    keeper = AuthKeeper()

    assert [keeper.failed(worker, "10.0.0.1", 0.0) for worker in (1, 2, 1)] == [1, 2, 3]


async def test_failures_are_counted_here_when_the_parent_does_not_answer() -> None:
    failures = Failures(Wire(None))

    for _ in range(FAILURES_A_MINUTE):
        await failures.hold("10.0.0.1", 0.0)

    assert failures._tally.note("10.0.0.1", 0.0) == FAILURES_A_MINUTE + 1


@pytest.mark.parametrize("text", ["broken\n", "bob: tw", "bob: other"])
async def test_a_worker_that_starts_with_a_broken_key_file_has_the_last_good_keys(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    keeper, file = AuthKeeper(), tmp_path / "keys"
    write(file, "- {name: bob, key: two, models: [llama*], expires: 2027-01-31}\n- {name: carol, key: three, disabled: true}\n")
    first = await worker(keeper, key_file=file)

    write(file, text)
    second = await worker(keeper, key_file=file)

    assert second._ring._known == first._ring._known
    assert second._ring.find("two", 0.0) == Principal("bob", models=("llama*",))
    assert [record.msg for record in caplog.records] == ["key_file_kept"]


async def test_a_worker_that_starts_after_a_reload_has_the_keys_from_then(tmp_path: Path) -> None:
    keeper, file = AuthKeeper(), write(tmp_path / "keys", "bob: two\n")
    first = await worker(keeper, key_file=file)
    write(file, "bob: revoked no more\n")
    await first.reconfigure(Auth.Settings(key_file=file))

    file.unlink()
    second = await worker(keeper, key_file=file)

    assert second._ring._known == first._ring._known
    assert second._ring.find("two", 0.0) is None


async def test_keys_of_a_file_that_was_left_out_do_not_come_back_with_another_that_is_broken(tmp_path: Path) -> None:
    keeper, file = AuthKeeper(), write(tmp_path / "keys", "bob: two\n")
    own = {"keys": [{"name": "alice", "key": "one"}]}
    first = await worker(keeper, key_file=file, **own)
    await first.reconfigure(Auth.Settings.model_validate(own))

    second = await worker(keeper, key_file=tmp_path / "nowhere", **own)

    assert second._ring.find("two", 0.0) is None
    assert second._ring.find("one", 0.0) == Principal("alice")


async def test_the_parent_is_told_digests_of_keys_only(tmp_path: Path) -> None:
    keeper = AuthKeeper()

    await worker(keeper, key_file=write(tmp_path / "keys", "bob: a secret\n"))

    assert digest_of("a secret").hex() in str(keeper.key_file(1))
    assert "a secret" not in str(keeper.key_file(1))
