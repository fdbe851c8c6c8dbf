"""Fixtures for the tests of plugins, there wherever tornado-gateway is installed: `fake_ollama` and `gateway`.

It is imported at every start of pytest, whatever is tested, so it imports nothing of ours before a fixture is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tornado_gateway.testing import GatewayThread, OllamaThread


@pytest.fixture
def fake_ollama() -> Iterator[OllamaThread]:
    """A simulated Ollama on a free port, in a thread of its own."""
    from tornado_gateway.testing import OllamaThread

    with OllamaThread() as ollama:
        yield ollama


@pytest.fixture
def gateway(fake_ollama: OllamaThread) -> Iterator[Callable[..., GatewayThread]]:
    """`gateway(plugins=[...], ...)` starts a real gateway in front of `fake_ollama`; it ends with the test. Takes what `GatewayThread` takes."""
    from tornado_gateway.testing import GatewayThread

    with contextlib.ExitStack() as running:

        def start(**configuration: Any) -> GatewayThread:
            return running.enter_context(GatewayThread(fake_ollama.url, **configuration))

        yield start
