"""One plugin's hook, bound: its arguments, and the lines that name it."""

import logging
import time

import pytest

from tornado_gateway import binding
from tornado_gateway.binding import Bound
from tornado_gateway.hooks import Hooks
from tornado_gateway.hookspecs import Context, StartupRefused, hookimpl


class Takes:
    """Names one argument of three."""

    @hookimpl
    async def answer(self, call: object) -> object:
        return call


async def test_a_hook_is_given_the_arguments_that_it_names() -> None:
    (bound,) = Hooks([("takes", Takes())])._bound("answer")

    assert await bound.call("context", "call", "forward") == "call"


async def test_a_wrapper_is_no_hook() -> None:
    class Wraps:
        @hookimpl(wrapper=True)
        def admit(self, context: Context) -> object:
            return (yield)

    with pytest.raises(StartupRefused, match="plugin wraps: hook admit is a wrapper"):
        Hooks([("wraps", Wraps())])


def test_a_slow_hook_is_named_once_in_a_while(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(binding, "monotonic", lambda: now[0])
    bound = Bound("lazy", "admit", lambda: None)

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            bound.meter.add(60_000_000)
        now[0] += binding.WARN_EVERY_SECONDS
        bound.meter.add(70_000_000)
        bound.meter.add(49_000_000)

    assert [record.__dict__["facts"] for record in caplog.records] == [
        {"plugin": "lazy", "hook": "admit", "ms": 60.0, "times": 1},
        {"plugin": "lazy", "hook": "admit", "ms": 70.0, "times": 3},
    ]


async def test_issue_6_time_is_counted_for_each_hook_of_each_plugin(caplog: pytest.LogCaptureFixture) -> None:
    class Works:
        @hookimpl
        async def admit(self, context: Context) -> None:
            until = time.perf_counter() + 0.002
            while time.perf_counter() < until:
                pass

    hooks = Hooks([("works", Works())])
    context = Context("id", 0.0, 0.0, "127.0.0.1", "POST", "/")
    for _ in range(2):
        await hooks.admit(context)

    times = hooks.times()

    assert list(times) == ["works.admit"]
    assert times["works.admit"]["calls"] == 2
    assert times["works.admit"]["failures"] == 0
    assert 4 <= times["works.admit"]["ms"] < 1000
    assert 2 <= times["works.admit"]["longest_ms"] <= times["works.admit"]["ms"]
    assert times["works.admit"]["ms"] / 2 <= times["works.admit"]["longest_ms"], "each call was one stretch"
