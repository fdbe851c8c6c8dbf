"""What Ollama says when it will not: status and text, word for word.

The texts come from recordings and from the wire sheet of Ollama 0.33. A refusal is raised where it is found and becomes
an answer in one place, `routes`.
"""

from __future__ import annotations

from tornado_gateway.testing.gojson import encode

QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"
RUNNER_DIED = "an error was encountered while running the model: unexpected EOF"
CLOUD_OFF = "ollama cloud is disabled: remote model is unavailable"
CLOUD_DETAILS_OFF = "ollama cloud is disabled: remote model details are unavailable"
NO_EMBEDDINGS = "This server does not support embeddings. Start it with `--embeddings`"
TOO_LONG_TO_EMBED = "the input length exceeds the context length"
NO_IMAGES = "Multimodal data provided, but model does not support multimodal requests."


class Refusal(Exception):
    """An answer that is an error.

    `by_runner` marks what the model's own process found: with streaming on, such an answer is framed differently.
    """

    def __init__(self, status: int, text: str, *, by_runner: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.by_runner = by_runner

    @property
    def body(self) -> bytes:
        return encode({"error": self.text})


def runner_refusal(message: str, kind: str = "invalid_request_error", **facts: int) -> Refusal:
    """A 400 of the model's process, which Ollama passes on as JSON inside a string."""
    error = {"code": 400, "message": message, "type": kind, **facts}
    return Refusal(400, encode({"error": error}).decode(), by_runner=True)


def context_exceeded(prompt_tokens: int, num_ctx: int) -> Refusal:
    message = f"request ({prompt_tokens} tokens) exceeds the available context size ({num_ctx} tokens), try increasing it"
    return runner_refusal(message, "exceed_context_size_error", n_prompt_tokens=prompt_tokens, n_ctx=num_ctx)


def unknown_model(name: str, endpoint: str) -> Refusal:
    """Each endpoint has its own spelling."""
    if endpoint == "/api/embed" and name:
        return Refusal(404, f'model "{name}" not found, try pulling it first')
    return Refusal(404, f"model '{name}' not found")


def queue_full() -> Refusal:
    return Refusal(503, QUEUE_FULL)
