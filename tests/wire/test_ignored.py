"""What is named as ignored, and in which order."""

from __future__ import annotations

from tornado_gateway.wire.ignored import ignored_fields


def test_unknown_fields_are_named_in_the_requests_order() -> None:
    assert ignored_fields(["z", "model", "a"], {"model"}, ()) == ("z", "a")


def test_what_is_found_inside_a_field_stands_in_its_place() -> None:
    given = ["z", "options", "keep_alive", "a"]

    named = ignored_fields(given, {"options", "keep_alive"}, ["keep_alive", "options.num_ctx", "options.num_gpu"])

    assert named == ("z", "options.num_ctx", "options.num_gpu", "keep_alive", "a")


def test_nothing_ignored_is_nothing_named() -> None:
    assert ignored_fields(["model", "options"], {"model", "options"}, ()) == ()
