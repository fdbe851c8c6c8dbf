from typing import Any

from tornado_gateway.hookspecs import ServerFacts, SharedUnavailable
from tornado_gateway_auth import Auth
from tornado_gateway_auth_failures import FAILURES_A_MINUTE, Failures
from tornado_gateway_auth_keeper import AuthKeeper


class Wire:
    """A worker's line to the keeper, without the processes; cut when there is none."""

    worker = 0

    def __init__(self, keeper: AuthKeeper | None) -> None:
        self._keeper = keeper

    async def call(self, method: str, *args: Any, seconds: float | None = 5.0) -> Any:
        if self._keeper is None:
            raise SharedUnavailable
        return getattr(self._keeper, method)(1, *args)

    def tell(self, method: str, *args: Any) -> bool:
        raise AssertionError


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
