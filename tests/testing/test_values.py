"""Values of single fields."""

from typing import Any

import pytest

from tornado_gateway.testing.refusals import Refusal
from tornado_gateway.testing.values import array, images, integers, keep_alive, think


@pytest.mark.parametrize(("text", "position"), [("###", 0), ("ab#d", 2), ("abc", 3), ("ab-_", 2), ("a===", 4)])
def test_the_first_bad_byte_of_base64_is_named(text: str, position: int) -> None:
    with pytest.raises(Refusal, match=rf"illegal base64 data at input byte {position}$"):
        images([text], "x")


@pytest.mark.parametrize("value", [True, False, "low", "medium", "high", "max"])
def test_thinking_is_a_switch_or_a_level(value: Any) -> None:
    assert think(value, "x") == value


@pytest.mark.parametrize("value", ["", "none", "true", "HIGH", 1, []])
def test_any_other_level_is_refused(value: Any) -> None:
    with pytest.raises(Refusal, match="true, or false"):
        think(value, "x")


@pytest.mark.parametrize("value", ["5", "m", "1x", " 1s", "1s ", "--1s"])
def test_a_duration_needs_number_and_unit(value: str) -> None:
    with pytest.raises(Refusal, match=r"^time: "):
        keep_alive(value, "x")


def test_lists_are_lists_and_integers_integers() -> None:
    assert integers([1, 2], "x") == [1, 2]
    wrongs: list[Any] = [{}, [1.5], ["a"], [True]]
    for wrong in wrongs:
        with pytest.raises(Refusal):
            integers(wrong, "x")
    with pytest.raises(Refusal, match="cannot unmarshal object into Go struct field x of type T"):
        array({}, "x", "T")
