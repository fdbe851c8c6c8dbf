from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tornado_gateway.answering import Guarded, check_known
from tornado_gateway.binding import Bound
from tornado_gateway.errors import InternalError
from tornado_gateway.wire.ollama import Record

OURS, OLLAMAS = [Record(response="ours", done=True)], [Record(response="Ollama's", done=True)]


class Tape:
    """An answer that is an iterator with an end of its own, and no generator."""

    def __init__(self, *batches: Any) -> None:
        self.batches = iter(batches)
        self.closed = 0

    def __aiter__(self) -> Tape:
        return self

    async def __anext__(self) -> Any:
        match next(self.batches, None):
            case None:
                raise StopAsyncIteration
            case BaseException() as error:
                raise error
            case batch:
                return batch

    async def aclose(self) -> None:
        self.closed += 1


def guarded(tape: Tape, *, forwarded: bool = False) -> tuple[Guarded, Bound]:
    """`forwarded`: the plugin has asked Ollama itself."""

    async def from_ollama() -> AsyncIterator[list[Record]]:
        yield OLLAMAS

    def forward() -> Any:
        if forwarded:
            raise RuntimeError("once only")
        return from_ollama()

    bound = Bound("mine", "answer", lambda: None)
    return Guarded(bound, tape, forward), bound


@pytest.mark.parametrize("breaks", [ZeroDivisionError(), SystemExit(), "no records", [42]])
async def test_one_that_breaks_at_its_beginning_counts_as_nothing_known(breaks: Any) -> None:
    tape = Tape(breaks)
    answer, bound = guarded(tape)

    assert [batch async for batch in answer] == [OLLAMAS]
    assert (tape.closed, bound.meter.failures) == (1, 1)


async def test_one_that_breaks_behind_its_beginning_has_no_other_end() -> None:
    answer, _ = guarded(Tape(OURS, ZeroDivisionError()))

    assert await anext(answer) == OURS
    with pytest.raises(InternalError, match="broke off"):
        await anext(answer)


async def test_ollama_is_not_asked_twice() -> None:
    answer, _ = guarded(Tape(ZeroDivisionError()), forwarded=True)

    with pytest.raises(InternalError, match="broke off"):
        await anext(answer)


async def test_an_answer_that_can_be_closed_is_closed_generator_or_not() -> None:
    tape = Tape(OURS)
    answer, _ = guarded(tape)
    await anext(answer)

    await answer.aclose()

    assert tape.closed == 1


@pytest.mark.parametrize("records", [[Record(response="a"), Record(done=True)], (Record(embeddings=[]),)])
def test_a_list_that_ends_is_a_whole_answer(records: Any) -> None:
    check_known(records)


@pytest.mark.parametrize("records", [[Record(response="a")], [Record(done=True), "b"]])
def test_a_list_without_an_end_is_none(records: Any) -> None:
    with pytest.raises(TypeError):
        check_known(records)
