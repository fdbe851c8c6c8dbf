"""What is read out of `Cache-Control`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway_cache_control import NONE, Wishes, read_wishes


@pytest.mark.parametrize(
    ("header", "wishes"),
    [
        (None, NONE),
        ("", NONE),
        ("no-cache", Wishes(no_cache=True)),
        ("No-Store", Wishes(no_store=True)),
        ("no-cache, no-store", Wishes(no_cache=True, no_store=True)),
        ("  only-if-cached ,max-age=60", Wishes(only_if_cached=True, max_age=60)),
        ('max-age="60"', Wishes(max_age=60)),
        ("max-age=0", Wishes(max_age=0)),
        ("max-age=soon", Wishes(max_age=0)),
        ("max-age", Wishes(max_age=0)),
        ("max-age=-1", Wishes(max_age=0)),
        ("max-age=99999999999999999999999", Wishes(max_age=0)),
        ("max-age=9999999999", Wishes(max_age=2**31)),
        ("max-age=5, max-age=500", Wishes(max_age=5)),
        ('extension="no-store, no-cache", no-cache', Wishes(no_cache=True)),
        ("not-no-store, x=no-cache", NONE),
        (",, ; no-cache,no-store", Wishes(no_store=True)),
        ("private", NONE),
    ],
)
def test_directives_are_read_as_the_rfc_says(header: str | None, wishes: Wishes) -> None:
    assert read_wishes(header) == wishes


@given(st.text())
def test_any_text_is_read_without_an_error(header: str) -> None:
    assert isinstance(read_wishes(header), Wishes)


@given(st.lists(st.sampled_from(["no-cache", "no-store", "only-if-cached", "x", 'y="a,b"', "z=1"]), max_size=8))
def test_order_and_company_of_a_directive_do_not_matter(directives: list[str]) -> None:
    wishes = read_wishes(", ".join(directives))

    assert wishes.no_cache == ("no-cache" in directives)
    assert wishes.no_store == ("no-store" in directives)
    assert wishes.only_if_cached == ("only-if-cached" in directives)
