"""Which fields of a request have no effect here: what `X-Ignored-Params` names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator


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
