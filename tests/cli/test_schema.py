from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tornado_gateway.cli.schema import schema
from tornado_gateway.discovery import available

SHIPPED = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture(scope="module")
def validator() -> Any:
    described = schema(available())
    Draft202012Validator.check_schema(described)
    return Draft202012Validator(described)


def test_the_shipped_file_fits_with_its_references(validator: Any) -> None:
    assert not list(validator.iter_errors(yaml.safe_load(SHIPPED.read_text("utf-8"))))


@pytest.mark.parametrize(
    "text", ["server: {port: abc}", "sever: {}", "plugins: [nope]", "plugins: [{cache: {ttl: 3}}]", "plugins: {}"]
)
def test_mistakes_are_seen_by_an_editor(validator: Any, text: str) -> None:
    assert list(validator.iter_errors(yaml.safe_load(text)))


@pytest.mark.parametrize(
    "text", ["server: {port: 8080}", "plugins: []", "plugins: [cache, {auth: null}]", "models: {aliases: {a: b}}"]
)
def test_what_loads_is_no_mistake_to_an_editor(validator: Any, text: str) -> None:
    assert not list(validator.iter_errors(yaml.safe_load(text)))
