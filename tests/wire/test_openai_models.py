"""Models in OpenAI's form: vectors 69 and 70, and the recordings of a real Ollama."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Model

from tornado_gateway.wire.openai_models import ModelEntry, encode_model, encode_models, owner, unix_seconds

RECORDINGS = Path(__file__).parents[1] / "transcripts"


def recorded(name: str) -> Any:
    return json.loads(json.loads((RECORDINGS / f"{name}.json").read_text())["response"]["body"])


def test_vector_69_a_model_of_tags_is_a_model_of_openai() -> None:
    entry = ModelEntry("test-model", "test-model", "2023-06-16T17:08:52Z")

    assert json.loads(encode_models([entry])) == {
        "object": "list",
        "data": [{"id": "test-model", "object": "model", "created": 1686935332, "owned_by": "library"}],
    }


def test_vector_70_no_models_are_an_empty_list() -> None:
    assert json.loads(encode_models([])) == {"object": "list", "data": []}


def test_the_recorded_tags_become_what_ollamas_own_layer_lists() -> None:
    tags = recorded("tags")["models"]

    listed = json.loads(encode_models(ModelEntry(tag["name"], tag["name"], tag["modified_at"]) for tag in tags))

    assert listed == recorded("v1-models")


def test_the_fields_stand_in_openais_order() -> None:
    assert encode_models([ModelEntry("m", "m")]) == (
        b'{"object":"list","data":[{"id":"m","object":"model","created":0,"owned_by":"library"}]}'
    )


def test_one_model_is_what_the_sdk_expects() -> None:
    model = Model.model_validate_json(
        encode_model(ModelEntry("gpt-3.5-turbo", "ada/m:7b", "2024-01-01T00:00:00+01:00")), strict=True
    )

    assert model.to_dict() == {"id": "gpt-3.5-turbo", "created": 1704063600, "owned_by": "ada", "object": "model"}


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("2026-11-23T02:08:05.9Z", 1795399685),
        ("2026-11-23T02:08:05.215157174Z", 1795399685),
        ("2026-11-22T18:08:05.215157-08:00", 1795399685),
        ("2026-11-23T07:38:05+05:30", 1795399685),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
        ("yesterday", 0),
        ("2026-13-01T00:00:00Z", 0),
        ("2026-01-01T00:00:00+99:99", 0),
        ("2026-01-01T00:00:00", 0),
    ],
)
def test_a_time_of_ollamas_is_whole_unix_seconds(time: str, seconds: int) -> None:
    assert unix_seconds(time) == seconds


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("m", "library"),
        ("m:7b", "library"),
        ("ada/m:7b", "ada"),
        ("hf.co/ada/m", "ada"),
        ("localhost:5000/ada/m", "ada"),
        ("", "library"),
    ],
)
def test_the_owner_is_the_namespace_of_the_name(name: str, namespace: str) -> None:
    assert owner(name) == namespace


@given(st.text(), st.text(), st.text())
def test_any_names_and_times_can_be_listed(one: str, other: str, time: str) -> None:
    entry = ModelEntry(one, other, time)

    assert json.loads(encode_models([entry]))["data"] == [json.loads(encode_model(entry))]
