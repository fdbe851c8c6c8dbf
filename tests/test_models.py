"""The catalog: what callers may call models, and what they may see."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tornado_gateway.context import Principal
from tornado_gateway.errors import ModelNotFound, UpstreamUnavailable
from tornado_gateway.models import Catalog, names_of
from tornado_gateway.names import normal
from tornado_gateway.testing import DEFAULT_MODELS, Behaviour, FakeModel, FakeOllama, fail, hang
from tornado_gateway.upstream import Ollama, UpstreamOptions

ANYONE = Principal("anyone")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def catalog(
    fake: FakeOllama, aliases: dict[str, Any] | None = None, clock: Clock | None = None
) -> AsyncIterator[Catalog]:
    async with Ollama(UpstreamOptions(fake.url)) as ollama:
        made = Catalog(ollama, aliases or {}, clock or Clock())
        yield made
        await made.close()


@pytest.fixture
async def fake() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as ollama:
        yield ollama


@pytest.mark.parametrize("name", ["llama3.2", "llama3.2:latest", "Llama3.2", " library/llama3.2 "])
async def test_every_spelling_finds_the_model(fake: FakeOllama, name: str) -> None:
    async with catalog(fake) as models:
        assert (await models.resolve(name, ANYONE)).name == "llama3.2:latest"


async def test_an_alias_leads_to_the_first_target_that_is_there(fake: FakeOllama) -> None:
    async with catalog(fake, {"gpt-4": ["nope", "qwen3", "llama3.2"]}) as models:
        assert (await models.resolve("gpt-4", ANYONE)).name == "qwen3:latest"


async def test_any_chat_model_means_a_loaded_one_first_and_never_an_embedder() -> None:
    embedders = [model for model in DEFAULT_MODELS if model.is_embedder]
    chat = [FakeModel("first"), FakeModel("second")]
    async with FakeOllama(models=[*embedders, *chat]) as fake, catalog(fake, {"gpt-4": "*"}) as models:
        unloaded = (await models.resolve("gpt-4", ANYONE)).name
        other = "second" if unloaded.startswith("first") else "first"
        async with Ollama(UpstreamOptions(fake.url)) as ollama:
            await load(ollama, other)

        assert (await models.resolve("gpt-4", ANYONE)).name == f"{other}:latest"


async def load(ollama: Ollama, model: str) -> None:
    from tornado_gateway.wire.ollama import NativeCall

    call = NativeCall(
        "/api/chat", model, "", f'{{"model":"{model}","messages":[{{"role":"user","content":"Hi"}}]}}'.encode(), stream=False
    )
    async for _ in ollama.answer(call):
        pass


async def test_the_alias_named_star_answers_for_every_name_that_is_not_there(fake: FakeOllama) -> None:
    async with catalog(fake, {"*": "llama3.2"}) as models:
        assert (await models.resolve("gpt-17", ANYONE)).name == "llama3.2:latest"
        assert (await models.resolve("qwen3", ANYONE)).name == "qwen3:latest"


async def test_c14_unknown_forbidden_and_cloud_names_look_the_same() -> None:
    cloudy = FakeModel("gpt-oss:120b-cloud", remote_host="https://example.invalid:443")
    only_llama = Principal("some", models=("llama3.2",))
    async with FakeOllama(models=[*DEFAULT_MODELS, cloudy]) as fake, catalog(fake) as models:
        messages = []
        for name in ("nope", "qwen3", "gpt-oss:120b-cloud"):
            with pytest.raises(ModelNotFound) as caught:
                await models.resolve(name, only_llama)
            messages.append(caught.value.message.replace(name, "NAME"))

        assert len(set(messages)) == 1
        assert "This key may use: llama3.2." in messages[0]


async def test_a_pattern_matches_the_asked_or_the_resolved_name(fake: FakeOllama) -> None:
    by_alias, by_target = Principal("a", models=("gpt-*",)), Principal("b", models=("llama*",))
    async with catalog(fake, {"gpt-4": "llama3.2"}) as models:
        assert (await models.resolve("gpt-4", by_alias)).name == "llama3.2:latest"
        assert (await models.resolve("gpt-4", by_target)).name == "llama3.2:latest"
        with pytest.raises(ModelNotFound):
            await models.resolve("llama3.2", by_alias)


@pytest.mark.parametrize(
    ("pattern", "spelling"), [("*llama*", "registry.ollama.ai/library/qwen3"), ("l*", "library/qwen3"), ("Q?en2*", "QWEN3")]
)
async def test_no_pattern_takes_another_spelling_for_another_model(fake: FakeOllama, pattern: str, spelling: str) -> None:
    async with catalog(fake) as models:
        with pytest.raises(ModelNotFound):
            await models.resolve(spelling, Principal("some", models=(pattern,)))


async def test_patterns_do_not_regard_case_as_names_do_not(fake: FakeOllama) -> None:
    async with catalog(fake, {"GPT-4": "llama3.2"}) as models:
        for pattern, name in (("gpt-*", "Gpt-4"), ("Llama*", "llama3.2"), ("llama3.2:LATEST", "LLAMA3.2")):
            assert (await models.resolve(name, Principal("some", models=(pattern,)))).name == "llama3.2:latest"


async def test_who_asks_for_a_star_asks_for_a_model_of_that_name(fake: FakeOllama) -> None:
    async with catalog(fake, {"gpt-4": ["nope", "*"]}) as models:
        assert await models.resolve("gpt-4", ANYONE)
        with pytest.raises(ModelNotFound):
            await models.resolve("*", ANYONE)


async def test_any_chat_model_is_looked_for_only_when_nothing_before_it_is_there(fake: FakeOllama) -> None:
    async with catalog(fake, {"gpt-4": ["llama3.2", "*"]}) as models:
        await models.resolve("gpt-4", ANYONE)

    assert [entry.path for entry in fake.ledger.requests] == ["/api/tags"]


async def test_a_name_that_no_model_can_have_is_kept_nowhere(fake: FakeOllama) -> None:
    kept = normal.cache_info().currsize, names_of.cache_info().currsize
    async with catalog(fake, {"*": "nope"}) as models:
        with pytest.raises(ModelNotFound) as caught:
            await models.resolve("m" * 1_000_000, ANYONE)

    assert len(caught.value.message) < 1000
    assert (normal.cache_info().currsize - kept[0], names_of.cache_info().currsize - kept[1]) == (0, 0)


async def test_the_list_holds_what_the_key_may_use_and_aliases_that_lead_somewhere(fake: FakeOllama) -> None:
    async with catalog(fake, {"gpt-4": "llama3.2", "dead": "nope", "*": "qwen3"}) as models:
        everything = [entry.id for entry in await models.listed(ANYONE)]
        some = [entry.id for entry in await models.listed(Principal("some", models=("llama3.2",)))]

        assert "gpt-4" in everything
        assert "dead" not in everything
        assert "*" not in everything
        assert some == ["llama3.2:latest", "gpt-4"]


async def test_a_model_that_was_just_pulled_is_found(fake: FakeOllama) -> None:
    async with catalog(fake) as models:
        await models.resolve("llama3.2", ANYONE)
        fake.add_model(FakeModel("fresh"))

        assert (await models.resolve("fresh", ANYONE)).name == "fresh:latest"


async def test_a_new_digest_is_seen_when_the_list_has_aged(fake: FakeOllama) -> None:
    clock = Clock()
    async with catalog(fake, clock=clock) as models:
        before = (await models.resolve("llama3.2", ANYONE)).digest
        fake.add_model(FakeModel("llama3.2", digest="e" * 64))
        clock.now += 1

        assert (await models.resolve("llama3.2", ANYONE)).digest == "e" * 64 != before


async def test_what_a_model_can_do_is_asked_once_for_each_digest(fake: FakeOllama) -> None:
    async with catalog(fake) as models:
        model = await models.resolve("qwen3", ANYONE)
        for _ in range(3):
            facts = await models.facts(model)

        assert facts.capabilities is not None
        assert "thinking" in facts.capabilities
        assert len(fake.ledger.to("/api/show")) == 1


async def test_a_model_that_cannot_be_shown_is_used_as_one_whose_powers_are_unknown(fake: FakeOllama) -> None:
    fake.script(fail(500), path="/api/show", times=None)
    async with catalog(fake) as models:
        facts = await models.facts(await models.resolve("qwen3", ANYONE))

        assert facts.name == "qwen3:latest"
        assert facts.capabilities is None


async def test_while_ollama_is_down_the_last_list_is_used(fake: FakeOllama) -> None:
    clock = Clock()
    async with catalog(fake, clock=clock) as models:
        await models.resolve("llama3.2", ANYONE)
        await fake.stop()
        clock.now += 10

        assert (await models.resolve("llama3.2", ANYONE)).name == "llama3.2:latest"


async def test_while_ollama_hangs_the_last_list_is_used_and_only_the_first_wait(fake: FakeOllama) -> None:
    clock = Clock()
    async with catalog(fake, clock=clock) as models:
        await models.resolve("llama3.2", ANYONE)
        fake.script(hang(), path="/api/tags", times=None)
        clock.now += 10

        async with asyncio.timeout(5):  # half of what one question may take
            together = await asyncio.gather(*(models.resolve("llama3.2", ANYONE) for _ in range(3)))
            later = [await models.resolve("llama3.2", ANYONE) for _ in range(10)]

        assert {model.name for model in (*together, *later)} == {"llama3.2:latest"}
        assert [request.path for request in fake.ledger.requests].count("/api/tags") == 2


@pytest.mark.parametrize(("quiet", "name"), [(10, "new"), (3600, "llama3.2")])
async def test_a_slow_list_is_waited_for_where_the_last_one_may_be_wrong(fake: FakeOllama, quiet: float, name: str) -> None:
    clock = Clock()
    async with catalog(fake, clock=clock) as models:
        await models.resolve("llama3.2", ANYONE)
        listed = {"models": [{"name": f"{name}:latest", "digest": "d" * 64}]}
        fake.script(Behaviour(status=200, text=json.dumps(listed), first_byte_seconds=1.3), path="/api/tags", times=None)
        clock.now += quiet

        assert (await models.resolve(name, ANYONE)).digest == "d" * 64


async def test_without_any_list_the_failure_is_told(fake: FakeOllama) -> None:
    await fake.stop()
    async with catalog(fake) as models:
        with pytest.raises(UpstreamUnavailable):
            await models.resolve("llama3.2", ANYONE)
