"""Errors are made of what can be sent, or not at all: who makes one is told, and not who writes it."""

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest

from tornado_gateway import errors
from tornado_gateway.errors import InvalidRequest, RateLimitExceeded, error_classes


class Field(StrEnum):
    MODEL = "model"


@pytest.mark.parametrize("seconds", [0, -5, 2.5, Decimal("2.5"), 10**9, -float("inf")])
def test_numbers_are_seconds(seconds: Any) -> None:
    assert RateLimitExceeded("No.", retry_after=seconds).retry_after == seconds


@pytest.mark.parametrize(
    "seconds", [float("nan"), float("inf"), Decimal("NaN"), 1e308, 10**400, "soon", timedelta(seconds=5), []]
)
def test_what_is_no_time_to_come_again_is_refused(seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        RateLimitExceeded("No.", retry_after=seconds)


def test_texts_can_be_sent_whatever_they_were() -> None:
    error = InvalidRequest("half \ud800 a pair", param=Field.MODEL)

    assert str(error) == "half ? a pair"
    assert error.body() == {"message": "half ? a pair", "type": error.type, "param": "model", "code": error.code}
    assert type(error.body()["param"]) is str


@pytest.mark.parametrize("given", [{"message": None}, {"message": ValueError("x")}, {"message": "x", "param": 5}])
def test_what_is_no_text_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="instead of a text"):
        InvalidRequest(**given)


def test_headers_are_checked_and_stay_as_they_were_found() -> None:
    headers = {"X-A": "a"}
    error = InvalidRequest("x", headers=headers)
    headers["X-A"] = "a\r\nX-Evil: b"

    assert error.headers == {"X-A": "a"}
    with pytest.raises(ValueError, match="X-A"):
        InvalidRequest("x", headers=headers)


@pytest.mark.parametrize("cls", [cls for cls in error_classes() if cls.__module__ == errors.__name__])
def test_every_class_is_made_of_a_message_alone(cls: Any) -> None:
    assert cls("No.").body()["message"] == "No."
