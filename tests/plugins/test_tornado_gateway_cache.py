"""What the cache decides: what is kept, what is given again, what runs once, and what it says about it."""

import asyncio
import re
from pathlib import Path

import pytest
import yaml
from caching import CALL, DETERMINISTIC, EMBED, STREAMED, STREAMED_DETERMINISTIC, WHOLE, Clock, Ollama, request, says
from msgspec.structs import replace
from pydantic import ValidationError

from tornado_gateway.hookspecs import Message, NativeCall, NotCached, Record, ServerFacts
from tornado_gateway_cache import Cache

Settings = Cache.Settings
SERVER = ServerFacts("127.0.0.1", 3000, loopback=True, announce=lambda _: None)


async def test_a_second_equal_call_is_answered_from_the_cache() -> None:
    clock = Clock()
    ollama = Ollama(Cache(Settings(), clock=clock))

    _, first = await ollama.ask()
    clock.now += 90.5
    text, second = await ollama.ask()

    assert (text, ollama.sent) == ("Hello.", 1)
    assert says(first) == ("miss", "miss")
    assert says(second) == ("hit", "hit")
    assert second.response_headers["Age"] == "90"
    assert "Age" not in first.response_headers


async def test_a_hit_is_the_whole_answer_with_ollamas_counts() -> None:
    cache = Cache(Settings())
    await Ollama(cache).ask()

    answer = await cache.answer(request(), STREAMED, lambda: pytest.fail("sent"))

    assert answer == [WHOLE]


async def test_tenants_never_share_an_answer() -> None:
    """C01."""
    ollama = Ollama(Cache(Settings()))

    await ollama.ask(tenant="ada")
    _, context = await ollama.ask(tenant="bob")

    assert ollama.sent == 2
    assert says(context) == ("miss", "miss")


async def test_a_model_that_was_pulled_again_does_not_answer_from_old_entries() -> None:
    ollama = Ollama(Cache(Settings()))

    await ollama.ask()
    await ollama.ask(replace(CALL, digest="another"))

    assert ollama.sent == 2


async def test_an_answer_is_gone_after_its_time() -> None:
    clock = Clock()
    ollama = Ollama(Cache(Settings(ttl_seconds=10), clock=clock))

    await ollama.ask()
    clock.now += 10
    await ollama.ask()

    assert ollama.sent == 2


async def test_a_cut_answer_is_not_kept() -> None:
    """C24."""
    ollama = Ollama(Cache(Settings(apply_to="all")))
    ollama.cut = True
    with pytest.raises(OSError, match="cut"):
        await ollama.ask(STREAMED)
    ollama.cut = False

    _, context = await ollama.ask(STREAMED)

    assert says(context) == ("miss", "miss")


@pytest.mark.parametrize("reason", ["load", "unload"])
async def test_an_answer_that_only_loads_a_model_is_not_kept(reason: str) -> None:
    ollama = Ollama(Cache(Settings()), Record(message=Message(), done=True, done_reason=reason))

    await ollama.ask()
    await ollama.ask()

    assert ollama.sent == 2


async def test_embeddings_are_kept() -> None:
    """Their answers have no `done`."""
    ollama = Ollama(Cache(Settings()), Record(embeddings=[]))

    await ollama.ask(EMBED)
    _, context = await ollama.ask(EMBED)

    assert says(context) == ("hit", "hit")


@pytest.mark.parametrize(
    ("apply_to", "kept"),
    [
        ("non_streamed", [CALL, DETERMINISTIC, EMBED]),
        ("deterministic", [DETERMINISTIC, STREAMED_DETERMINISTIC, EMBED]),
        ("all", [CALL, STREAMED, DETERMINISTIC, STREAMED_DETERMINISTIC, EMBED]),
    ],
)
@pytest.mark.parametrize("call", [CALL, STREAMED, DETERMINISTIC, STREAMED_DETERMINISTIC, EMBED])
async def test_apply_to_says_whose_answers_are_kept(apply_to: str, kept: list[NativeCall], call: NativeCall) -> None:
    ollama = Ollama(
        Cache(Settings.model_validate({"apply_to": apply_to})), WHOLE if call is not EMBED else Record(embeddings=[])
    )

    await ollama.ask(call)
    _, context = await ollama.ask(call)

    assert context.cache == ("hit" if call in kept else "miss" if call.deterministic else "bypass")


async def test_one_entry_serves_streamed_and_other_calls_alike() -> None:
    ollama = Ollama(Cache(Settings()))
    await ollama.ask(CALL)

    text, context = await ollama.ask(STREAMED)

    assert (text, ollama.sent) == ("Hello.", 1)
    assert says(context) == ("hit", "hit")


async def test_a_streamed_call_under_the_shipped_settings_is_passed_by() -> None:
    ollama = Ollama(Cache(Settings()))

    _, first = await ollama.ask(STREAMED)
    _, second = await ollama.ask(STREAMED)

    assert says(first) == says(second) == ("bypass", "bypass")


async def test_no_store_is_neither_kept_nor_looked_up() -> None:
    ollama = Ollama(Cache(Settings()))

    _, context = await ollama.ask(cache_control="no-store")
    await ollama.ask()
    await ollama.ask(cache_control="no-store")

    assert says(context) == ("bypass", "bypass")
    assert ollama.sent == 3
    assert ollama.cache.stored == 1


async def test_no_cache_gets_a_fresh_answer_that_is_kept() -> None:
    clock = Clock()
    ollama = Ollama(Cache(Settings(), clock=clock))
    await ollama.ask()
    clock.now += 50

    _, fresh = await ollama.ask(cache_control="no-cache")
    _, later = await ollama.ask()

    assert says(fresh) == ("miss", "miss")
    assert (says(later), later.response_headers["Age"]) == (("hit", "hit"), "0")


async def test_max_age_refuses_older_entries() -> None:
    clock = Clock()
    ollama = Ollama(Cache(Settings(), clock=clock))
    await ollama.ask()
    clock.now += 30

    _, young_enough = await ollama.ask(cache_control="max-age=30")
    _, too_old = await ollama.ask(cache_control="max-age=29")

    assert (young_enough.cache, too_old.cache) == ("hit", "miss")


@pytest.mark.parametrize("header", ["only-if-cached", "only-if-cached, no-store", "only-if-cached, no-cache"])
async def test_only_if_cached_asks_nobody_else(header: str) -> None:
    ollama = Ollama(Cache(Settings()))
    context = request("ada", {"cache-control": header})

    with pytest.raises(NotCached) as error:
        await ollama.ask(context=context)

    assert says(context) == ("miss", "miss")

    assert (error.value.status, error.value.code, ollama.sent) == (504, "not_cached", 0)


async def test_only_if_cached_gets_what_is_there() -> None:
    ollama = Ollama(Cache(Settings()))
    await ollama.ask()

    _, context = await ollama.ask(cache_control="only-if-cached")

    assert says(context) == ("hit", "hit")
    with pytest.raises(NotCached):
        await ollama.ask(cache_control="only-if-cached, no-store")


async def test_equal_calls_of_one_request_get_answers_of_their_own() -> None:
    """`n` choices: each is another answer, now and when they come from the cache."""
    ollama = Ollama(Cache(Settings()))
    first, second = request(), request()

    for context in (first, second):
        await asyncio.gather(*(ollama.ask(replace(CALL, index=index), context=context) for index in range(3)))

    assert ollama.sent == 3
    assert (first.cache, second.cache) == ("miss", "hit")


async def test_a_request_is_as_good_as_the_worst_of_its_calls() -> None:
    ollama = Ollama(Cache(Settings()))
    await ollama.ask()
    context = request()

    await ollama.ask(CALL, context=context)
    assert says(context) == ("hit", "hit")
    await ollama.ask(replace(CALL, body=b"{}", index=1), context=context)

    assert says(context) == ("miss", "miss")
    assert "Age" not in context.response_headers


async def test_counters_count() -> None:
    cache = Cache(Settings(max_entries=1))
    ollama = Ollama(cache)

    await ollama.ask()
    await ollama.ask()
    await ollama.ask(replace(CALL, body=b"{}"))
    await ollama.ask(STREAMED)

    assert (cache.hits, cache.misses, cache.joined, cache.bypassed) == (1, 2, 0, 1)
    assert (cache.stored, cache.evicted) == (2, 1)
    assert 0 < cache.bytes < 2000


async def test_new_settings_keep_what_is_there() -> None:
    ollama = Ollama(Cache(Settings()))
    await ollama.ask()

    await ollama.cache.reconfigure(Settings(apply_to="all", ttl_seconds=100))

    assert (await ollama.ask(STREAMED))[1].cache == "hit"
    assert (await ollama.ask(replace(STREAMED, body=b"{}")))[1].cache == "miss"


async def test_entries_in_a_file_outlive_a_restart(tmp_path: Path) -> None:
    settings = Settings(file=tmp_path / "cache.sqlite")
    clock, wall = Clock(), Clock()
    ollama = Ollama(Cache(settings, clock=clock, wall=wall))
    await ollama.cache.startup(SERVER)
    await ollama.ask()
    await ollama.cache.shutdown()
    wall.now += 40
    clock.now = 3.0  # a monotonic clock begins anew

    again = Ollama(Cache(settings, clock=clock, wall=wall))
    await again.cache.startup(SERVER)
    text, context = await again.ask()
    await again.cache.shutdown()

    assert (text, again.sent) == ("Hello.", 0)
    assert context.response_headers["Age"] == "40"


def test_the_example_in_the_documentation_is_as_shipped() -> None:
    page = (Path(__file__).parents[2] / "docs" / "caching.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)

    assert Settings.model_validate(yaml.safe_load(example)["plugins"][0]["cache"]) == Settings()


@pytest.mark.parametrize("wrong", [{"ttl_seconds": 0}, {"max_bytes": -1}, {"apply_to": "some"}, {"size": 1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)
