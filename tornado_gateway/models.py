"""The catalog of models: what Ollama has, what callers may call it, and what each model can do.

The list is asked of Ollama when it is older than a moment, by one question for all who wait; what a model can do is asked once for each
digest. Names are resolved here, before any hook sees the call, so that limits, cache and log speak of the model that really answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cachetools import LRUCache

from tornado_gateway.context import Principal
from tornado_gateway.errors import GatewayError, ModelNotFound
from tornado_gateway.log import get_logger
from tornado_gateway.names import is_cloud, normal, short
from tornado_gateway.upstream import Model, Ollama
from tornado_gateway.wire.dialect import ModelFacts

ANY = "*"
"""As an alias: every name that Ollama lacks. As a target: any chat model, a loaded one first."""

MAX_AGE_SECONDS = 0.25
"""How old the list may be: a model that was pulled again must not answer under its old digest for longer."""

_PATIENCE_SECONDS = 1.0
_USABLE_SECONDS = 30.0
"""How old a list may be to be used instead of a slow one: after an hour of quiet much may have been pulled."""

LONGEST_NAME = 600
"""Characters: more than any name of Ollama's may have, in all its parts together."""

_SHOWN_AT_MOST = 12
_EMBEDDING_FAMILIES = frozenset({"bert", "nomic-bert", "nomic-bert-moe", "gemma-embedding"})

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list that a caller sees: an id that works, and the model behind it."""

    id: str
    model: Model


class Catalog:
    """The models of one Ollama. `clock` is monotonic, in seconds."""

    def __init__(self, ollama: Ollama, aliases: Mapping[str, str | Sequence[str]], clock: Callable[[], float]) -> None:
        self._ollama = ollama
        self._clock = clock
        self._models: dict[str, Model] = {}
        self._asked_at: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self._failed = False
        """Whether the last question was in vain."""
        self._patience_ends = 0.0
        """When the last list is used although the question is still open, in the loop's time."""
        self._facts: LRUCache[str, ModelFacts] = LRUCache(256)
        self.use_aliases(aliases)

    def use_aliases(self, aliases: Mapping[str, str | Sequence[str]]) -> None:
        """Take another table of aliases: for calls that come from now on."""
        self._aliases = {
            name if name == ANY else normal(name): (name, (target,) if isinstance(target, str) else tuple(target))
            for name, target in aliases.items()
        }

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def resolve(self, asked: str, principal: Principal) -> Model:
        """The model that answers to a name. Raises `ModelNotFound`: unknown, forbidden and cloud names look the same."""
        fresh = self._asked_at is None or self._clock() - self._asked_at >= MAX_AGE_SECONDS
        if fresh:
            await self._refresh()
        found = await self._find(asked, principal)
        if found is None and (not fresh or self._asking is not None):
            await self._refresh(patient=True)  # it may have been pulled a moment ago
            found = await self._find(asked, principal)
        if found is None:
            raise await self._not_found(asked, principal)
        return found

    async def listed(self, principal: Principal) -> list[Listed]:
        """What this caller may use: Ollama's models, then the aliases that lead to one of them."""
        await self._refresh()
        return await self._usable(principal)

    async def facts(self, model: Model) -> ModelFacts:
        """What a model can do, from `/api/show`; without capabilities when Ollama cannot say."""
        key = f"{model.name} {model.digest}"
        if key not in self._facts:
            try:
                shown = await self._ollama.show(model.name)
            except GatewayError as error:
                # What it can do stays unknown: the call is sent as asked, and Ollama itself says what is wrong with it.
                _log.warning("model_not_shown", model=model.name, code=error.code)
                return ModelFacts(name=model.name, digest=model.digest, families=model.families)
            self._facts[key] = ModelFacts(
                name=model.name,
                digest=model.digest,
                capabilities=shown.capabilities,
                stop=shown.stop,
                families=shown.families or model.families,
            )
        return self._facts[key]

    async def _refresh(self, *, patient: bool = False) -> None:
        """Ask for the list. Where the last one is young, or the last question failed, the next is waited for for a second, and by nobody
        who comes later than that, unless `patient`."""
        loop = asyncio.get_running_loop()
        if self._asking is None:
            self._asking = loop.create_task(self._ask())
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._patience_ends = loop.time() + _PATIENCE_SECONDS
        asking = self._asking
        usable = self._asked_at is not None and (self._failed or self._clock() - self._asked_at < _USABLE_SECONDS)
        patience = max(0.0, self._patience_ends - loop.time()) if usable and not patient else None
        # Not awaited itself: the question is everybody's, and one who leaves must not take it from the others.
        await asyncio.wait([asking], timeout=patience)
        if asking.done() and (self._asked_at is None or not isinstance(asking.exception(), GatewayError)):
            asking.result()

    async def _ask(self) -> None:
        began = self._clock()
        try:
            models = await self._ollama.tags()
        except GatewayError:
            self._failed = True
            if self._asked_at is not None:
                _log.warning("models_not_refreshed", reason="Ollama did not answer; the last list is used")
            raise
        finally:
            self._asking = None
        self._models = {normal(model.name): model for model in models if not _leaves_the_machine(model)}
        self._asked_at, self._failed = began, False

    async def _find(self, asked: str, principal: Principal) -> Model | None:
        if len(asked) > LONGEST_NAME or is_cloud(asked):
            return None
        alias = self._aliases.get(normal(asked))
        if alias is None and normal(asked) not in self._models:
            alias = self._aliases.get(ANY)
        for target in (asked,) if alias is None else alias[1]:
            # Only an alias may mean any model: who asks for `*` asks for one of that name.
            meant = await self._any_chat_model() if alias is not None and target == ANY else self._named(target)
            for model in meant:
                if principal.may_use(*names_of(asked, model.name)):
                    return model
        return None

    def _named(self, name: str) -> list[Model]:
        model = self._models.get(normal(name))
        return [] if model is None else [model]

    async def _any_chat_model(self) -> list[Model]:
        try:
            loaded = {normal(name) for name in await self._ollama.ps()}
        except GatewayError:
            loaded = set()
        chat = [model for model in self._models.values() if await self._can_chat(model)]
        return sorted(chat, key=lambda model: normal(model.name) not in loaded)

    async def _can_chat(self, model: Model) -> bool:
        if _EMBEDDING_FAMILIES.intersection(model.families):
            return False
        try:
            capabilities = (await self.facts(model)).capabilities
        except GatewayError:
            return True
        return capabilities is None or "completion" in capabilities

    async def _usable(self, principal: Principal) -> list[Listed]:
        models = self._models.values()
        usable = [Listed(model.name, model) for model in models if principal.may_use(*names_of(model.name, model.name))]
        for key, (name, _) in self._aliases.items():
            if key != ANY and key not in self._models:
                model = await self._find(name, principal)
                if model is not None:
                    usable.append(Listed(name, model))
        return usable

    async def _not_found(self, asked: str, principal: Principal) -> ModelNotFound:
        usable = [short(entry.id) for entry in await self._usable(principal)]
        instead = ", ".join(usable[:_SHOWN_AT_MOST]) + (", …" if len(usable) > _SHOWN_AT_MOST else "")
        name = asked if len(asked) <= 100 and asked.isprintable() else asked[:100].encode("unicode_escape").decode() + "…"
        return ModelNotFound(
            f"The model '{name}' does not exist here or is not open to this key. "
            + (f"This key may use: {instead}. " if usable else "No model is open to this key. ")
            + f"On the machine that runs Ollama, `ollama pull {short(name)}` adds it, if Ollama's library has it.",
            param="model",
        )


@lru_cache(1024)
def names_of(asked: str, own: str) -> tuple[str, ...]:
    """The names that patterns are compared with, in lower case: the model's own and, where another led to it, that alias.

    Never the caller's own spelling: `registry.ollama.ai/library/qwen3` is qwen3, and no pattern may take it for something else.
    """
    return tuple(spelled for name in dict.fromkeys((normal(own), normal(asked))) for spelled in (name, short(name)))


def _leaves_the_machine(model: Model) -> bool:
    return bool(model.remote_host or model.remote_model) or is_cloud(model.name)
