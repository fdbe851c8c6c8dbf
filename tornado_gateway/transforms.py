"""What plugins do to records on their way: one function of each, fed in order, and none of them may break the answer."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from time import perf_counter_ns

from tornado_gateway.binding import Bound
from tornado_gateway.budget import FAILURES
from tornado_gateway.errors import GatewayError
from tornado_gateway.hookspecs import Transform
from tornado_gateway.wire.ollama import Record, own_copy


class Change:
    """The function that one plugin gave for one native call. One that fails or gives nonsense changes nothing."""

    __slots__ = ("_bound", "_function", "_told")

    def __init__(self, bound: Bound, function: Transform) -> None:
        self._bound = bound
        self._function = function
        self._told = False

    def __call__(self, record: Record) -> Record:
        began = perf_counter_ns()
        try:
            changed = self._function(record)
        except GatewayError:
            raise
        except FAILURES as error:  # counts as nothing to change
            if not self._told:  # a line for each token would be of no use to anybody
                self._told = True
                self._bound.failed(error)
            return record
        finally:
            self._bound.meter.add(perf_counter_ns() - began)
        if isinstance(changed, Record):
            return changed
        if not self._told:
            self._told = True
            self._bound.answered_nonsense(changed)
        elif isinstance(changed, Coroutine):
            changed.close()  # as the first one was: nobody will await it
        return record


def transformed(record: Record, changes: Sequence[Change]) -> Record:
    """A record after every function. What is in the record may be shared with other readers and a cache: they get a copy of their own."""
    record = own_copy(record)
    for change in changes:
        record = change(record)
    return record
