"""The limits as callers meet them: admissions, headers, messages, places; and an hour of twenty tenants."""

import asyncio
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml
from pydantic import ValidationError

from tornado_gateway.hookspecs import ConcurrencyLimit, Context, NativeCall, Outcome, Principal, RateLimitExceeded, Usage
from tornado_gateway_rate_limit import Limits, RateLimit, go_duration

SECOND = 1_000_000_000
Settings = RateLimit.Settings
CALL = NativeCall("/api/chat", "llama3.2:latest", "d", b"{}", stream=False)
NOTHING: Mapping[str, str] = MappingProxyType({})


class Clock:
    def __init__(self) -> None:
        self.now = 77 * SECOND

    def __call__(self) -> int:
        return self.now


def request(
    principal: Principal | str = "ada",
    *,
    model: str = "llama3.2",
    names: tuple[str, ...] | None = None,
    estimate: int = 0,
    headers: Mapping[str, str] = NOTHING,
) -> Context:
    principal = Principal(principal) if isinstance(principal, str) else principal
    return Context(
        id="same-for-all",
        arrived=0.0,
        clock=0.0,
        client="127.0.0.1",
        method="POST",
        path="/v1/chat/completions",
        headers=headers,
        principal=principal,
        model=model,
        resolved_model=f"{model}:latest",
        model_names=names or (f"{model}:latest", model),
        prompt_tokens_estimate=estimate,
    )


def complete(prompt: int, answer: int) -> Outcome:
    return Outcome("complete", 200, usage=Usage(prompt, answer), dispatched=1)


async def ask(limit: RateLimit, context: Context) -> RateLimitExceeded | None:
    try:
        await limit.admit(context)
    except RateLimitExceeded as error:
        return error
    return None


async def test_the_shipped_limit_is_sixty_requests_a_minute_and_they_may_come_at_once() -> None:
    limit = RateLimit(Settings(), clock=Clock())

    answers = [await ask(limit, request()) for _ in range(61)]

    assert answers[:60] == [None] * 60
    assert answers[60] is not None
    assert (answers[60].status, answers[60].code, answers[60].retry_after) == (429, "rate_limit_exceeded", 1.0)


async def test_every_admitted_answer_and_every_refusal_says_how_the_limit_stands() -> None:
    limit = RateLimit(Settings(requests_per_minute=2), clock=Clock())
    first, second, third = request(), request(), request()

    for context in (first, second, third):
        await ask(limit, context)

    assert first.response_headers == {
        "X-RateLimit-Limit-Requests": "2",
        "X-RateLimit-Remaining-Requests": "1",
        "X-RateLimit-Reset-Requests": "30s",
    }
    assert second.response_headers["X-RateLimit-Remaining-Requests"] == "0"
    assert third.response_headers["X-RateLimit-Remaining-Requests"] == "0"
    assert third.response_headers["X-RateLimit-Reset-Requests"] == "1m0s"


async def test_a_refusal_says_which_limit_was_hit_and_when_to_come_back() -> None:
    limit = RateLimit(Settings(requests_per_minute=4), clock=Clock())
    for _ in range(4):
        await limit.admit(request())

    error = await ask(limit, request())

    assert error is not None
    assert error.message == "Rate limit reached: 4 requests a minute. Please try again in 15s."
    assert error.retry_after == 15


async def test_coming_back_when_told_is_in_time() -> None:
    clock = Clock()
    limit = RateLimit(Settings(requests_per_minute=7, burst=1), clock=clock)
    await limit.admit(request())
    error = await ask(limit, request())
    assert error is not None
    assert error.retry_after is not None

    clock.now += math.ceil(error.retry_after * SECOND)

    assert await ask(limit, request()) is None


async def test_tenants_have_allowances_of_their_own() -> None:
    limit = RateLimit(Settings(requests_per_minute=1), clock=Clock())

    assert await ask(limit, request("ada")) is None
    assert await ask(limit, request("ada")) is not None
    assert await ask(limit, request("bob")) is None


async def test_no_header_of_a_request_changes_whose_allowance_it_is() -> None:
    """C46: not `X-Forwarded-For`, not `Forwarded`, not `X-Real-Ip`."""
    limit = RateLimit(Settings(requests_per_minute=1), clock=Clock())
    await limit.admit(request())

    for name in ("x-forwarded-for", "forwarded", "x-real-ip", "x-user", "user-agent"):
        assert await ask(limit, request(headers={name: "10.0.0.9"})) is not None


async def test_a_callers_own_limit_beats_the_setting() -> None:
    limit = RateLimit(Settings(requests_per_minute=1, burst=1), clock=Clock())
    vip = Principal("vip", requests_per_minute=3)

    answers = [await ask(limit, request(vip)) for _ in range(4)]

    assert [answer is None for answer in answers] == [True, True, True, False]


async def test_without_a_limit_nothing_is_counted_and_no_header_is_sent() -> None:
    limit = RateLimit(Settings(requests_per_minute=None), clock=Clock())
    context = request()

    await limit.admit(context)

    assert context.response_headers == {}


async def test_steady_and_burst_are_two_numbers() -> None:
    clock = Clock()
    limit = RateLimit(Settings(requests_per_minute=60, burst=2), clock=clock)

    at_once = [await ask(limit, request()) is None for _ in range(3)]
    clock.now += SECOND

    assert at_once == [True, True, False]
    assert [await ask(limit, request()) is None for _ in range(2)] == [True, False]


async def test_a_model_has_a_limit_besides_the_tenants() -> None:
    limit = RateLimit(Settings(requests_per_minute=10, models={"big*": Limits(requests_per_minute=1)}), clock=Clock())
    first = request(model="big")

    assert await ask(limit, first) is None
    refusal = await ask(limit, request(model="big"))

    assert first.response_headers["X-RateLimit-Limit-Requests"] == "1"
    assert refusal is not None
    assert refusal.message == "Rate limit reached: 1 request a minute to big. Please try again in 1m0s."
    assert await ask(limit, request(model="bigger")) is None
    assert await ask(limit, request(model="small")) is None


async def test_a_models_limit_goes_by_the_names_of_the_model_not_by_how_it_was_spelled() -> None:
    limits = {"*llama*": Limits(requests_per_minute=5), "Big": Limits(requests_per_minute=1)}
    limit = RateLimit(Settings(requests_per_minute=10, models=limits), clock=Clock())
    spelled = request(model="registry.ollama.ai/library/BIG", names=("big:latest", "big"))

    assert await ask(limit, spelled) is None

    assert spelled.response_headers["X-RateLimit-Limit-Requests"] == "1"


async def test_a_request_that_the_line_refuses_costs_nothing() -> None:
    limit = RateLimit(Settings(requests_per_minute=10, max_concurrent=1, max_waiting=0), clock=Clock())
    first = request()
    await limit.admit(first)
    assert await limit.dispatch(first, CALL)

    for _ in range(3):
        refused = request()
        await limit.admit(refused)
        with pytest.raises(ConcurrencyLimit):
            await limit.dispatch(refused, CALL)
        await limit.finished(refused, Outcome("refused", 429))

    last = request()
    await limit.admit(last)
    assert last.response_headers["X-RateLimit-Remaining-Requests"] == "8"


async def test_a_request_that_ollama_refuses_or_that_was_never_admitted_gives_nothing_back() -> None:
    limit = RateLimit(Settings(requests_per_minute=2), clock=Clock())
    for dispatched in (1, 1):
        context = request()
        await limit.admit(context)
        await limit.finished(context, Outcome("refused", 400, dispatched=dispatched))
    context = request()
    assert await ask(limit, context)
    await limit.finished(context, Outcome("refused", 429))

    assert await ask(limit, request())


async def test_what_no_wait_can_help_is_told_before_what_takes_longest() -> None:
    limit = RateLimit(Settings(requests_per_minute=1, tokens_per_minute=600, token_burst=100), clock=Clock())
    assert await ask(limit, request(estimate=1)) is None

    refusal = await ask(limit, request(estimate=150))

    assert refusal is not None
    assert refusal.headers["X-Should-Retry"] == "false"


async def test_a_refused_request_costs_nothing() -> None:
    limit = RateLimit(Settings(requests_per_minute=10, models={"big": Limits(requests_per_minute=1)}), clock=Clock())
    for _ in range(5):
        await ask(limit, request(model="big"))
    small = request(model="small")

    await limit.admit(small)

    assert small.response_headers["X-RateLimit-Remaining-Requests"] == "8"


async def test_tokens_are_reserved_on_entry_and_settled_with_ollamas_counts() -> None:
    limit = RateLimit(Settings(requests_per_minute=None, tokens_per_minute=1000), clock=Clock())
    first, second = request(estimate=100), request(estimate=1)

    await limit.admit(first)
    await limit.finished(first, complete(117, 200))
    await limit.admit(second)

    assert first.response_headers == {
        "X-RateLimit-Limit-Tokens": "1000",
        "X-RateLimit-Remaining-Tokens": "900",
        "X-RateLimit-Reset-Tokens": "6s",
    }
    assert second.response_headers["X-RateLimit-Remaining-Tokens"] == str(1000 - 317 - 1)


@pytest.mark.parametrize(
    ("outcome", "charged"),
    [
        (complete(40, 60), 100),
        (Outcome("complete", 200), 0),  # from the cache, or shared
        (Outcome("complete", 200, dispatched=1), 70),  # Ollama gave no counts
        (Outcome("upstream_failed", 502, usage=Usage(40, 60), dispatched=2), 0),
        (Outcome("failed", 500), 0),
        (Outcome("refused", 400), 0),
        (Outcome("shutdown", 503, dispatched=1), 0),
        (Outcome("client_left", 499), 0),
        (Outcome("client_left", 200, dispatched=1), 70),
        (Outcome("client_left", 200, usage=Usage(100, 100), dispatched=2), 200),
    ],
)
async def test_a_request_is_charged_what_it_used_and_nothing_when_it_failed(outcome: Outcome, charged: int) -> None:
    limit = RateLimit(Settings(tokens_per_minute=1000), clock=Clock())
    context, after = request(estimate=70), request(estimate=1)

    await limit.admit(context)
    await limit.finished(context, outcome)
    await limit.admit(after)

    assert after.response_headers["X-RateLimit-Remaining-Tokens"] == str(1000 - charged - 1)


async def test_a_prompt_over_the_whole_allowance_is_not_asked_to_come_again() -> None:
    limit = RateLimit(Settings(tokens_per_minute=1000), clock=Clock())

    error = await ask(limit, request(estimate=1001))

    assert error is not None
    assert "this one needs about 1001" in error.message
    assert error.headers == {"X-Should-Retry": "false"}


async def test_a_request_refused_at_the_door_reserves_nothing() -> None:
    limit = RateLimit(Settings(requests_per_minute=1, tokens_per_minute=1000), clock=Clock())
    await limit.admit(request(estimate=10))
    refused = request(estimate=500)

    assert await ask(limit, refused) is not None
    await limit.finished(refused, Outcome("refused", 429))

    assert refused.response_headers["X-RateLimit-Remaining-Tokens"] == "990"


async def test_new_settings_find_what_was_counted() -> None:
    limit = RateLimit(Settings(requests_per_minute=10), clock=Clock())
    for _ in range(10):
        await limit.admit(request())

    await limit.reconfigure(Settings(requests_per_minute=12))

    assert await ask(limit, request()) is None
    assert await ask(limit, request()) is None
    assert await ask(limit, request()) is not None


async def test_calls_over_the_limit_wait_and_are_refused_after_their_time() -> None:
    limit = RateLimit(Settings(max_concurrent=1, max_wait_seconds=0.01), clock=Clock())
    release = await limit.dispatch(request(), CALL)

    with pytest.raises(ConcurrencyLimit) as refused:
        await limit.dispatch(request(), CALL)

    assert refused.value.message.startswith("You may have 1 call at work at once; no place came free in time.")
    assert (refused.value.status, refused.value.code) == (429, "concurrency_limit")
    assert refused.value.retry_after is not None
    assert release is not None
    release()
    assert await limit.dispatch(request(), CALL) is not None


async def test_without_a_limit_nothing_waits() -> None:
    limit = RateLimit(Settings(), clock=Clock())

    assert [await limit.dispatch(request(), CALL) for _ in range(50)] == [None] * 50


@pytest.mark.parametrize(
    ("settings", "refused", "free"),
    [
        (Settings(max_concurrent=1, max_waiting=0), "ada", "bob"),
        (Settings(max_concurrent_total=1, max_waiting=0), "bob", None),
        (Settings(models={"llama3.2": Limits(max_concurrent=1)}, max_waiting=0), "ada", "bob"),
        (Settings(models={"llama*": Limits(max_concurrent_total=1)}, max_waiting=0), "bob", None),
    ],
)
async def test_places_are_counted_for_a_tenant_a_model_and_all(
    settings: RateLimit.Settings, refused: str, free: str | None
) -> None:
    limit = RateLimit(settings, clock=Clock())
    assert await limit.dispatch(request("ada"), CALL) is not None

    with pytest.raises(ConcurrencyLimit, match="the line is full"):
        await limit.dispatch(request(refused), CALL)

    if free is not None:
        assert await limit.dispatch(request(free), CALL) is not None


async def test_a_callers_own_number_of_places_beats_the_setting() -> None:
    limit = RateLimit(Settings(max_concurrent=5, max_waiting=0), clock=Clock())
    modest = Principal("modest", max_concurrent=1)
    await limit.dispatch(request(modest), CALL)

    with pytest.raises(ConcurrencyLimit):
        await limit.dispatch(request(modest), CALL)


async def test_the_calls_of_one_request_follow_one_another_where_only_one_may_run() -> None:
    limit = RateLimit(Settings(max_concurrent=1, max_waiting=0, max_wait_seconds=0), clock=Clock())
    context, at_work, most = request(), 0, 0
    await limit.admit(context)

    async def native_call() -> None:
        nonlocal at_work, most
        release = await limit.dispatch(context, CALL)
        assert release is not None
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0)
        at_work -= 1
        release()

    await asyncio.gather(*(native_call() for _ in range(4)))

    assert most == 1


async def test_a_caller_whose_own_limit_is_nothing_gets_nothing() -> None:
    error = await ask(RateLimit(Settings(), clock=Clock()), request(Principal("nobody", requests_per_minute=0)))

    assert error is not None
    assert error.message == "Rate limit reached: 0 requests a minute. Please try again in 1h0m0s."


def test_the_example_in_the_documentation_has_every_number_as_shipped() -> None:
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)

    settings = Settings.model_validate(yaml.safe_load(example)["plugins"][0]["rate_limit"])

    assert settings.model_copy(update={"models": {}}) == Settings()


@pytest.mark.parametrize(
    "wrong", [{"requests_per_minute": 0}, {"max_concurrent": -1}, {"requests": 5}, {"models": {"a": {"max_waiting": 1}}}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (0.012, "12ms"),
        (0.0121, "13ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (90, "1m30s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (3661.5, "1h1m1.5s"),
    ],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, words: str) -> None:
    assert go_duration(seconds) == words
