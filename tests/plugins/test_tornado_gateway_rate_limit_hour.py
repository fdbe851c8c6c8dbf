"""An hour of twenty tenants in virtual time: never more than allowed, never one refused who is entitled."""

import heapq
import math
import random
from fractions import Fraction

from tornado_gateway.hookspecs import Context, Outcome, Principal, RateLimitExceeded, Usage
from tornado_gateway_rate_limit import RateLimit

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
Settings = RateLimit.Settings


class Clock:
    def __init__(self) -> None:
        self.now = 77 * SECOND

    def __call__(self) -> int:
        return self.now


def request(principal: Principal, estimate: int) -> Context:
    return Context("id", 0.0, 0.0, "127.0.0.1", "POST", "/", principal=principal, model="m", prompt_tokens_estimate=estimate)


def complete(tokens: int) -> Outcome:
    return Outcome("complete", 200, usage=Usage(tokens, 0), dispatched=1)


async def admitted(limit: RateLimit, context: Context) -> bool:
    try:
        await limit.admit(context)
    except RateLimitExceeded:
        return False
    return True


class Bucket:
    """An oracle: a bucket in fractions, as plain as can be. Two of them side by side judge a request as a whole."""

    def __init__(self, per_minute: int, now: int) -> None:
        self.per_minute, self.level, self.at = per_minute, Fraction(per_minute), now

    def fill(self, now: int) -> Fraction:
        self.level = min(Fraction(self.per_minute), self.level + Fraction((now - self.at) * self.per_minute, MINUTE))
        self.at = now
        return self.level


async def test_twenty_tenants_for_an_hour_get_what_they_are_entitled_to_and_no_more() -> None:
    """Each verdict is the oracle's; tokens settle to the token. Answers take no time here: what is settled later has its own test."""
    chance, clock = random.Random(6), Clock()
    limit = RateLimit(Settings(requests_per_minute=None), clock=clock)
    tenants = [
        Principal(f"tenant {number}", requests_per_minute=1 + number, tokens_per_minute=300 + 140 * number)
        for number in range(20)
    ]
    requests = {tenant.name: Bucket(tenant.requests_per_minute or 0, clock.now) for tenant in tenants}
    tokens = {tenant.name: Bucket(tenant.tokens_per_minute or 0, clock.now) for tenant in tenants}
    arrivals = [(clock.now + chance.randrange(MINUTE), number) for number in range(20)]
    heapq.heapify(arrivals)
    verdicts = [0, 0]
    end = clock.now + 60 * MINUTE

    while arrivals[0][0] < end:
        clock.now, number = heapq.heappop(arrivals)
        tenant = tenants[number]
        heapq.heappush(arrivals, (clock.now + _pause(chance, number), number))
        estimate, used = chance.randrange(1, 200), chance.randrange(300)
        context = request(tenant, estimate)
        entitled = requests[tenant.name].fill(clock.now) >= 1 and tokens[tenant.name].fill(clock.now) >= estimate

        verdict = await admitted(limit, context)
        await limit.finished(context, complete(used) if verdict else Outcome("refused", 429))

        assert verdict == entitled
        verdicts[entitled] += 1
        if entitled:
            requests[tenant.name].level -= 1
            tokens[tenant.name].level -= used
    for tenant in tenants:
        context = request(tenant, 1)
        if await admitted(limit, context):
            left = math.floor(tokens[tenant.name].fill(clock.now) - 1)
            assert context.response_headers["X-RateLimit-Remaining-Tokens"] == str(left)

    assert min(verdicts) > 1000  # the hour had many of both


def _pause(chance: random.Random, number: int) -> int:
    """Mostly about the tenant's rate, now and then a burst or a rest."""
    mean = MINUTE / (1 + number)
    return int(chance.choice([0, 0.1, 0.5, 1, 1, 1, 2]) * chance.expovariate(1 / mean))


async def test_what_is_settled_late_never_lets_more_than_the_allowance_begin_in_any_minute() -> None:
    chance, clock = random.Random(7), Clock()
    limit = RateLimit(Settings(requests_per_minute=None, tokens_per_minute=1000), clock=clock)
    running: list[tuple[int, int, Context, int]] = []
    charged: list[tuple[int, int]] = []

    for number in range(5000):
        clock.now += chance.randrange(8 * SECOND)
        while running and running[0][0] <= clock.now:
            _, _, context, used = heapq.heappop(running)
            await limit.finished(context, complete(used) if used else Outcome("upstream_failed", 502))
        estimate = chance.randrange(1, 400)
        context = request(Principal("ada"), estimate)
        if await admitted(limit, context):
            used = chance.choice([0, estimate // 2, estimate])
            heapq.heappush(running, (clock.now + chance.randrange(120 * SECOND), number, context, used))
            charged.append((clock.now, used))

    for index, (begin, _) in enumerate(charged):
        total = 0
        for at, used in charged[index:]:
            total += used
            if at - begin > 2 * MINUTE:
                break
            assert total <= 1000 + Fraction((at - begin) * 1000, MINUTE)
