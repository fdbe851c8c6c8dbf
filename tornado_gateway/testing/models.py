"""Models that the simulated Ollama pretends to have, and what its lists say of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from tornado_gateway.testing.refusals import Refusal

TEMPLATE = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAME = re.compile(rf"(?:(?:{_PART}(?::\d+)?/)?{_PART}/)?{_PART}(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


@dataclass(frozen=True, slots=True)
class FakeModel:
    """One model, as its owner would describe it. Everything but the name has a likely value."""

    name: str
    """With or without a tag; `latest` is meant without one."""
    capabilities: tuple[str, ...] = ("completion",)
    """Of `completion`, `tools`, `insert`, `vision`, `embedding`, `thinking`, `audio`."""
    digest: str = ""
    """64 hexadecimal digits; "" makes one from the name."""
    family: str = "llama"
    parameter_size: str = "3.2B"
    quantization_level: str = "Q4_K_M"
    size: int = 2_019_393_189
    context_length: int = 131_072
    """What the model was trained for; a runner takes the smaller of this and `num_ctx`."""
    embedding_length: int = 3072
    stop: tuple[str, ...] = ("<|im_start|>", "<|im_end|>")
    modified_at: str = "2026-11-23T01:57:16.881718185Z"
    remote_host: str = ""
    """Set for a model that Ollama only relays, such as `https://ollama.com:443`."""
    remote_model: str = ""

    @property
    def full_name(self) -> str:
        return with_tag(self.name)

    @property
    def is_embedder(self) -> bool:
        return "embedding" in self.capabilities

    def full_digest(self) -> str:
        return self.digest or sha256(self.full_name.encode()).hexdigest()


DEFAULT_MODELS: tuple[FakeModel, ...] = (
    FakeModel("llama3.2:latest", ("completion", "tools"), modified_at="2026-11-23T02:07:14.290490001Z"),
    FakeModel(
        "qwen3:latest", ("completion", "tools", "thinking"), family="qwen3", parameter_size="8.2B", size=5_225_388_164,
        context_length=40_960, embedding_length=4096, modified_at="2026-11-22T09:12:40.113002994Z",
    ),
    FakeModel(
        "llava:latest", ("completion", "vision"), parameter_size="7B", quantization_level="Q4_0", size=4_733_363_377,
        context_length=32_768, embedding_length=4096, modified_at="2026-11-21T17:40:03.775102331Z",
    ),
    FakeModel(
        "gemma3n:latest", ("completion", "vision", "audio"), family="gemma3n", parameter_size="6.9B", size=7_547_589_116,
        context_length=32_768, embedding_length=2048, modified_at="2026-11-20T11:02:55.400120099Z",
    ),
    FakeModel(
        "qwen2.5-coder:latest", ("completion", "tools", "insert"), family="qwen2", parameter_size="7.6B", size=4_683_087_519,
        context_length=32_768, embedding_length=3584, modified_at="2026-11-19T08:30:21.017233105Z",
    ),
    FakeModel(
        "nomic-embed-text:latest", ("embedding",), family="nomic-bert", parameter_size="137M", quantization_level="F16",
        size=274_302_450, context_length=2048, embedding_length=768, stop=(), modified_at="2026-11-18T20:15:09.550018273Z",
    ),
    FakeModel(
        "all-minilm:l6", ("embedding",), family="bert", parameter_size="22.57M", quantization_level="F16", size=45_949_364,
        context_length=512, embedding_length=384, stop=(), modified_at="2026-11-18T20:01:33.935288271Z",
    ),
)  # fmt: skip
"""A likely household: chat with tools, thinking, images, sound, code with insertion, and two that embed."""


def with_tag(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else name + ":latest"


def canonical_name(name: str) -> str:
    """How a name is looked up: default host and namespace dropped, tag added, case ignored. Raises `Refusal` (400)."""
    short = name.strip().removeprefix("registry.ollama.ai/").removeprefix("library/")
    if not _NAME.fullmatch(short):
        raise Refusal(400, "invalid model name")
    return with_tag(short).casefold()


def is_cloud(canonical: str) -> bool:
    """Whether the name's tag asks for a model of ollama.com."""
    tag = canonical.rpartition(":")[2]
    return tag == "cloud" or tag.endswith("-cloud")


def qualified_name(canonical: str) -> str:
    """The name with host and namespace, as capability errors spell it."""
    parts = canonical.count("/")
    if parts >= 2:
        return canonical
    return f"registry.ollama.ai/{canonical}" if parts else f"registry.ollama.ai/library/{canonical}"


def details(model: FakeModel) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": model.family,
        "families": [model.family],
        "parameter_size": model.parameter_size,
        "quantization_level": model.quantization_level,
    }


def tags(models: Iterable[FakeModel]) -> dict[str, Any]:
    """`/api/tags`: newest first. Of an embedding model it tells less than `/api/show`, and wrongly, as Ollama does."""
    return {"models": [_tag(model) for model in sorted(models, key=lambda model: model.modified_at, reverse=True)]}


def _tag(model: FakeModel) -> dict[str, Any]:
    about = details(model)
    if not model.is_embedder:
        about |= {"context_length": model.context_length, "embedding_length": model.embedding_length}
    remote = {"remote_model": model.remote_model or model.name, "remote_host": model.remote_host} if model.remote_host else {}
    return {
        "name": model.full_name,
        "model": model.full_name,
        **remote,
        "modified_at": model.modified_at,
        "size": model.size,
        "digest": model.full_digest(),
        "details": about,
        "capabilities": ["completion"] if model.is_embedder else list(model.capabilities),
    }
