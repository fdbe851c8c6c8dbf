"""Which fields of a request have no effect here: what `X-Ignored-Params` names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from tornado_gateway.wire.decode import given_fields


def unused_fields(body: bytes, known: Collection[str], found: Sequence[str], *, exact: bool) -> tuple[str, ...]:
    """The fields of `body` without effect, in its order; `exact` says that all are `known`.

    Their order takes a pass over the body, so it is looked up only when there are some.
    """
    return () if exact and not found else ignored_fields(given_fields(body), known, found)


def ignored_fields(given: Iterable[str], known: Collection[str], found: Collection[str]) -> tuple[str, ...]:
    """Of the fields `given` those that are not `known`, and those `found` to have no effect this time, in the request's order.

    What is found inside a field, such as `options.num_ctx`, stands in the field's place.
    """
    return tuple(dict.fromkeys(_ignored(given, known, found)))


def _ignored(given: Iterable[str], known: Collection[str], found: Collection[str]) -> Iterator[str]:
    for name in given:
        if name not in known:
            yield name
        else:
            yield from (each for each in found if each == name or each.startswith(f"{name}."))
