"""What is named as ignored, and in which order."""

from __future__ import annotations

from tornado_gateway.wire.ignored import ignored_fields, unused_fields


def test_unknown_fields_are_named_in_the_requests_order() -> None:
    assert ignored_fields(["z", "model", "a"], {"model"}, ()) == ("z", "a")


def test_what_is_found_inside_a_field_stands_in_its_place() -> None:
    given = ["z", "options", "keep_alive", "a"]

    named = ignored_fields(given, {"options", "keep_alive"}, ["keep_alive", "options.num_ctx", "options.num_gpu"])

    assert named == ("z", "options.num_ctx", "options.num_gpu", "keep_alive", "a")


def test_nothing_ignored_is_nothing_named() -> None:
    assert ignored_fields(["model", "options"], {"model", "options"}, ()) == ()


def test_the_names_of_a_body_are_read_when_some_of_them_have_no_effect() -> None:
    body, known = b'{"z":1,"options":{"num_ctx":1},"model":"m"}', {"options", "model"}

    assert unused_fields(body, known, ["options.num_ctx"], exact=False) == ("z", "options.num_ctx")
    assert unused_fields(body, {*known, "z"}, ["options.num_ctx"], exact=True) == ("options.num_ctx",)
    assert unused_fields(b"not read at all", known, [], exact=True) == ()
