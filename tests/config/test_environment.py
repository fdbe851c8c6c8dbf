import pytest

from tornado_gateway.config.environment import fill_in
from tornado_gateway.config.values import FilledIn


@pytest.mark.parametrize(
    ("text", "environ", "filled"),
    [
        ("plain", {}, "plain"),
        ("$5 and {x}", {}, "$5 and {x}"),
        ("${A}", {"A": "1"}, "1"),
        ("${A}", {}, None),
        ("${A}", {"A": ""}, None),
        ("${A:-d}", {}, "d"),
        ("${A:-d}", {"A": ""}, "d"),
        ("${A:-d}", {"A": "1"}, "1"),
        ("${A:-}", {}, ""),
        ("${A:-http://h:1/x}", {}, "http://h:1/x"),
        ("Bearer ${A}!", {"A": "k"}, "Bearer k!"),
        ("Bearer ${A}", {}, None),
        ("${A}${B}", {"A": "1", "B": "2"}, "12"),
        ("${A} ${B}", {"A": "1"}, None),
        ("$${A}", {"A": "1"}, "${A}"),
        ("x$${A}${A}", {"A": "1"}, "x${A}1"),
        ("${A}", {"A": "${B}", "B": "no"}, "${B}"),
    ],
)
def test_references_are_filled_in_once(text: str, environ: dict[str, str], filled: str | None) -> None:
    assert fill_in(text, environ) == filled


@pytest.mark.parametrize("text", ["${", "${A", "${}", "${1A}", "${A:d}", "${A-d}", "${A B}", "${A:-${B}}"])
def test_what_looks_like_a_reference_but_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="reference"):
        fill_in(text, {"A": "1", "B": "2"})


@pytest.mark.parametrize(
    ("text", "whole"), [("${A}", True), ("${A:-3}", True), ("x${A}", False), ("${A} ", False), ("${A}${A}", False)]
)
def test_only_a_text_that_is_one_reference_may_become_a_number(text: str, whole: bool) -> None:
    filled = fill_in(text, {"A": "1"})

    assert isinstance(filled, FilledIn)
    assert filled.whole is whole
