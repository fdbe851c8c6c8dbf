"""Types and bounds of `options`."""

from typing import Any

import pytest

from tornado_gateway.testing.options import read_options
from tornado_gateway.testing.refusals import Refusal


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"num_predict": "1"}, 'option "num_predict" must be of type integer'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"stop": "x"}, 'option "stop" must be of type array'),
        ({"stop": [1]}, 'option "stop" must be of an array of strings'),
    ],
)
def test_an_option_of_the_wrong_type_is_a_500(options: dict[str, Any], text: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_options(options, 4096, 8192)

    assert (refused.value.status, refused.value.text) == (500, text)


def test_options_have_ollamas_bounds() -> None:
    assert read_options({"num_ctx": 99_999}, 4096, 8192).num_ctx == 8192
    assert read_options({"num_ctx": 1}, 4096, 8192).num_ctx == 4
    assert read_options({"num_predict": 10**9}, 4096, 8192).num_predict == 40_960
    assert read_options({"num_predict": 2.9, "nonsense": 1, "seed": None}, 4096, 8192).num_predict == 2
    assert read_options({"seed": -1}, 4096, 8192).repeatable is False
    assert read_options({"temperature": 0}, 4096, 8192).repeatable is True
