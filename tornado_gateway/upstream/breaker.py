"""The circuit breaker: when no connection to Ollama can be made, callers hear so at once instead of after a timeout each.

It counts failures to connect and nothing else: a slow or failed generation says nothing about the next one. While it is
open it asks for Ollama's version once a second, which costs no token, and closes with the first answer of any kind: also
when nobody calls, so that the first call after a night does not pay for what happened in the evening.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tornado_gateway.errors import UpstreamUnavailable

_FAILURES = 3
_PROBE_EVERY = 1.0


class Breaker:
    """`probe` says whether Ollama can be reached; it has its own time limit and never raises."""

    def __init__(
        self, probe: Callable[[], Awaitable[bool]], *, failures: int = _FAILURES, probe_every: float = _PROBE_EVERY
    ) -> None:
        self._probe = probe
        self._allowed_failures = failures
        self._probe_every = probe_every
        self._failures = 0
        self._probing: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether calls are refused."""
        return self._probing is not None

    def check(self) -> None:
        """Raise `UpstreamUnavailable` while the breaker is open."""
        if self._probing is not None:
            raise UpstreamUnavailable(
                "Ollama cannot be reached at present; the gateway keeps trying.", retry_after=self._probe_every
            )

    def succeeded(self) -> None:
        """Ollama has sent something: whatever it was, it is there."""
        self._failures = 0
        if self._probing is not None:
            self._probing.cancel()
            self._probing = None

    def failed(self) -> None:
        """A connection could not be made."""
        self._failures += 1
        if self._failures >= self._allowed_failures and self._probing is None:
            self._probing = asyncio.get_running_loop().create_task(self._probe_until_reached())

    async def close(self) -> None:
        """Stop probing."""
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)

    async def _probe_until_reached(self) -> None:
        while True:
            await asyncio.sleep(self._probe_every)
            if await self._probe():
                break
        self._failures = 0
        self._probing = None
