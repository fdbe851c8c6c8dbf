"""Names of models: which spellings mean the same, and which names would leave the machine. Pure."""

from __future__ import annotations

from functools import lru_cache

_PREFIXES = ("registry.ollama.ai/library/", "registry.ollama.ai/", "library/")


@lru_cache(4096)
def normal(name: str) -> str:
    """The one spelling of a name: as Ollama compares them, without regard to case, default registry and tag.

    >>> normal(" Library/Llama3.2 ")
    'llama3.2:latest'
    """
    name = name.strip().lower()
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            name = name[len(prefix) :]
            break
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def short(name: str) -> str:
    """A name without the tag that goes without saying."""
    return name.removesuffix(":latest")


def is_cloud(name: str) -> bool:
    """Whether Ollama would send a call for this name to its owner's cloud account: the tag decides, not the name before it."""
    tag = normal(name).rpartition(":")[2]
    return tag == "cloud" or tag.endswith("-cloud")
