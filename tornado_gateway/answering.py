"""An answer that a plugin gives in Ollama's place, checked as it is read: whatever is wrong with it costs time, not answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Self

from tornado_gateway.binding import Bound
from tornado_gateway.budget import failure
from tornado_gateway.errors import GatewayError, InternalError
from tornado_gateway.hookspecs import Forward
from tornado_gateway.wire.ollama import Record


class Guarded:
    """A plugin's answer, as long as it is one: one that breaks counts as nothing known, unless the caller has a part of it already."""

    __slots__ = ("_began", "_bound", "_forward", "_iterator")

    def __init__(self, bound: Bound, iterator: AsyncIterator[Sequence[Record]], forward: Forward) -> None:
        self._bound: Bound | None = bound
        """The plugin, as long as it is the one that answers."""
        self._iterator = iterator
        self._forward = forward
        self._began = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[Record]:
        bound = self._bound
        try:
            batch = await anext(self._iterator)
            if bound is not None:
                _check_records(batch)
        except (StopAsyncIteration, GatewayError):
            raise
        except BaseException as error:
            failed = failure(error)
            if bound is None or not isinstance(failed, Exception):
                raise
            return await self._from_ollama(bound, failed)
        self._began = True
        return batch

    async def aclose(self) -> None:
        # Whatever can be closed: a class of a plugin's own need not be a generator.
        close = getattr(self._iterator, "aclose", None)
        if close is None:
            return
        try:
            await close()
        except BaseException as error:
            failed = failure(error)
            if self._bound is None or not isinstance(failed, Exception):
                raise
            self._bound.failed(failed)

    async def _from_ollama(self, bound: Bound, error: Exception) -> Sequence[Record]:
        bound.failed(error)
        rest = None if self._began else _once(self._forward)
        if rest is None:
            raise InternalError("The answer broke off.") from error
        await self.aclose()
        self._bound, self._iterator = None, rest
        return await anext(rest)


Records = AsyncGenerator[Sequence[Record], None] | Guarded
"""What is iterated, and closed in the end."""

Known = list[Record] | tuple[Record, ...]
"""A whole answer that is there already."""


def check_known(records: Known) -> None:
    """Raises `TypeError` for what is no whole answer."""
    _check_records(records)
    if not records[-1].done and records[-1].embeddings is None:
        raise TypeError("an answer that is known but not whole")


def _check_records(batch: Sequence[Record]) -> None:
    for record in batch:
        if not isinstance(record, Record):
            raise TypeError(f"an answer of {type(record).__name__} instead of records")


def _once(forward: Forward) -> AsyncGenerator[Sequence[Record], None] | None:
    try:
        return forward()
    except RuntimeError:  # the plugin has taken that road: a call is sent to Ollama once and never again
        return None
