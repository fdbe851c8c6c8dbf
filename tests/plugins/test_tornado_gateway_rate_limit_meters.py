"""The counting of limits against an oracle in fractions."""

from collections.abc import Sequence
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway_rate_limit_meters import MINUTE, Hold, Key, MemoryMeters, Rate, Want

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now


ONE_A_SECOND = Rate(60, 60)


def want(name: str = "a", *, rate: Rate = ONE_A_SECOND, amount: int = 1, reserve: bool = False) -> Want:
    return Want(("requests", name), rate, amount, reserve)


class Oracle:
    """A bucket in fractions: as plain as can be."""

    def __init__(self, rate: Rate, now: int) -> None:
        self.rate, self.level, self.at = rate, Fraction(rate.burst), now

    def take(self, now: int, amount: int) -> bool:
        gained = Fraction((now - self.at) * self.rate.per_minute, MINUTE)
        self.level, self.at = min(Fraction(self.rate.burst), self.level + gained), now
        if self.level < amount:
            return False
        self.level -= amount
        return True


def admitted(meters: MemoryMeters, *wants: Want) -> bool:
    return meters.take(wants).refused is None


def test_a_burst_of_the_whole_allowance_is_admitted_and_no_more() -> None:
    meters = MemoryMeters(10, Clock())

    verdicts = [admitted(meters, want()) for _ in range(61)]

    assert verdicts == [True] * 60 + [False]


def test_waiting_exactly_as_long_as_told_is_enough_and_a_nanosecond_less_is_not() -> None:
    clock = Clock()
    meters = MemoryMeters(10, clock)
    odd = want(rate=Rate(7, 1))
    meters.take([odd])

    wait = round(meters.take([odd]).readings[0].wait * 1e9)
    clock.now += wait - 1
    too_early = admitted(meters, odd)
    clock.now += 1

    assert not too_early
    assert admitted(meters, odd)


def test_a_refusal_takes_nothing_from_any_meter() -> None:
    meters = MemoryMeters(10, Clock())
    small, large = want("small", rate=Rate(1, 1)), want("large")
    meters.take([small])

    taken = meters.take([large, small])

    assert taken.refused == 1
    assert meters.take([large]).readings[0].remaining == 59


def test_of_several_refusals_the_one_with_the_longest_wait_speaks() -> None:
    meters = MemoryMeters(10, Clock())
    fast, slow = want("fast", rate=Rate(60, 1)), want("slow", rate=Rate(1, 1))
    meters.take([fast, slow])

    assert meters.take([fast, slow]).refused == 1


def test_a_reservation_is_settled_to_the_token() -> None:
    meters = MemoryMeters(10, Clock())
    tokens = Rate(1000, 1000)
    first = meters.take([want(rate=tokens, amount=100, reserve=True)])
    second = meters.take([want(rate=tokens, amount=50, reserve=True)])

    meters.settle(first.holds, 317)
    meters.settle(second.holds, 0)

    assert meters.take([want(rate=tokens, amount=1)]).readings[0].remaining == 1000 - 317 - 1


def test_a_refund_gives_back_no_more_than_the_reservation_still_takes_up() -> None:
    clock = Clock()
    meters = MemoryMeters(10, clock)
    rate = Rate(60, 100)
    held = meters.take([want(rate=rate, amount=100, reserve=True)])
    clock.now += 50 * SECOND
    meters.take([want(rate=rate, amount=50)])

    meters.settle(held.holds, 0)

    # Without the reservation the bucket would have been full: 50 used just now, 50 left.
    assert meters.take([want(rate=rate, amount=0)]).readings[0].remaining == 50


def test_more_used_than_allowed_is_paid_off_before_the_next() -> None:
    clock = Clock()
    meters = MemoryMeters(10, clock)
    rate = Rate(60, 60)
    held = meters.take([want(rate=rate, amount=10, reserve=True)])

    meters.settle(held.holds, 180)

    assert meters.take([want(rate=rate)]).readings[0].wait == 121.0
    clock.now += 121 * SECOND
    assert admitted(meters, want(rate=rate))


def test_a_meter_in_use_is_never_forgotten_for_a_newcomer() -> None:
    """C46: a million names make no more meters than allowed, and give nobody a fresh allowance."""
    clock = Clock()
    meters = MemoryMeters(100, clock)
    assert admitted(meters, want("victim", rate=Rate(1, 1)))

    refused = [meters.take([want(f"peer {number}", rate=Rate(1, 1))]).full for number in range(5_000)]

    assert len(meters) == 100
    assert refused.count(False) == 99
    assert not admitted(meters, want("victim", rate=Rate(1, 1)))


def test_meters_at_rest_make_room() -> None:
    clock = Clock()
    meters = MemoryMeters(100, clock)

    for number in range(2_000):
        assert admitted(meters, want(f"peer {number}"))
        clock.now += SECOND // 50  # fifty newcomers a second, each at rest after one

    assert len(meters) <= 100


def test_a_meter_with_an_open_reservation_stays() -> None:
    clock = Clock()
    meters = MemoryMeters(1, clock)
    held = meters.take([want("busy", rate=Rate(60, 60), amount=1, reserve=True)])
    clock.now += 3600 * SECOND
    assert meters.take([want("newcomer")]).full

    meters.settle(held.holds, 0)

    assert not meters.take([want("newcomer")]).full


def test_names_that_run_together_have_meters_of_their_own() -> None:
    """C02: `a` + `bc` and `ab` + `c`."""
    meters = MemoryMeters(10, Clock())
    keys: list[Key] = [("requests", "a", "bc"), ("requests", "ab", "c"), ("requests", "abc"), ("requests", "a", "b", "c")]

    assert all(admitted(meters, Want(key, Rate(1, 1))) for key in keys)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    clock = Clock()
    meters = MemoryMeters(10, clock)
    meters.take([want(rate=Rate(1, 1))])

    clock.now -= 3600 * SECOND

    assert not admitted(meters, want(rate=Rate(1, 1)))


def test_a_new_rate_finds_what_was_used() -> None:
    meters = MemoryMeters(10, Clock())
    for _ in range(30):
        meters.take([want(rate=Rate(60, 60))])

    assert meters.take([want(rate=Rate(40, 40))]).readings[0].remaining == 9


@given(
    rate=st.builds(Rate, st.integers(1, 200), st.integers(1, 50)),
    steps=st.lists(st.tuples(st.integers(0, 20 * SECOND), st.integers(1, 5)), min_size=1, max_size=60),
)
def test_every_verdict_is_the_one_of_exact_arithmetic(rate: Rate, steps: list[tuple[int, int]]) -> None:
    clock = Clock()
    meters, oracle = MemoryMeters(10, clock), Oracle(rate, clock.now)

    for pause, amount in steps:
        clock.now += pause
        assert admitted(meters, want(rate=rate, amount=amount)) == oracle.take(clock.now, amount)


@given(
    st.lists(
        st.tuples(st.integers(0, 5 * SECOND), st.integers(1, 40), st.integers(0, 60), st.integers(0, 5)),
        min_size=1,
        max_size=40,
    )
)
def test_reserving_never_lets_more_through_than_knowing_what_will_be_used(
    steps: list[tuple[int, int, int, int]],
) -> None:
    """Refunds in any order leave no more room than a bucket that was only charged what was used, when it was used up."""
    clock = Clock()
    rate = Rate(60, 100)
    meters, oracle = MemoryMeters(10, clock), Oracle(rate, clock.now)
    running: list[tuple[int, Sequence[Hold], int]] = []
    for turn, (pause, estimate, used, lasts) in enumerate(steps):
        clock.now += pause
        taken = meters.take([want(rate=rate, amount=estimate, reserve=True)])
        oracle.take(clock.now, 0)
        if taken.refused is None:
            running.append((turn + lasts, taken.holds, min(used, estimate)))
            oracle.level -= min(used, estimate)
        for _, holds, charged in [entry for entry in running if entry[0] <= turn]:
            meters.settle(holds, charged)
        running = [entry for entry in running if entry[0] > turn]
        assert meters.take([want(rate=rate, amount=0)]).readings[0].remaining <= oracle.level
