"""What may stand in a header that a plugin sends."""

from typing import Any

import pytest

from tornado_gateway.headers import check_header


@pytest.mark.parametrize("header", [("X-Budget", "12"), ("X-Empty", ""), ("Server-Timing", 'a;desc="b c", d;dur=1.5')])
def test_names_and_printable_ascii_pass(header: tuple[str, str]) -> None:
    check_header(*header)


@pytest.mark.parametrize(
    "header", [("X-A", "a\r\nX-Evil: b"), ("X-A", "a\nb"), ("X-A", "a\0"), ("X-A", "–"), ("X A", "a"), ("X-A:", "a"), ("", "a")]
)
def test_what_would_end_the_header_or_be_another_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="not a header that can be sent"):
        check_header(*header)


@pytest.mark.parametrize("header", [("X-A", 5), ("X-A", None), ("X-A", b"a"), (5, "a"), ([], "a")])
def test_what_is_no_text_is_refused(header: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError, match="not a header of text"):
        check_header(*header)
