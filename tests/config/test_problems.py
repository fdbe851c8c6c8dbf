import pathlib

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from tornado_gateway.config.problems import ConfigError, Path, Problem, faults, key_path


class Inner(BaseModel, extra="forbid"):
    word: SecretStr = SecretStr("x")
    number: int = 1


class Outer(BaseModel, extra="forbid"):
    listed: tuple[Inner, ...] | None = None
    named: dict[str, Inner] = {}


def told(values: object, *, secretive: bool = False) -> dict[Path, str]:
    try:
        Outer.model_validate(values)
    except ValidationError as error:
        return dict(faults(error, Outer, secretive=secretive))
    raise AssertionError("nothing is wrong")


def test_a_problem_is_one_line_with_its_place() -> None:
    assert str(Problem("is wrong", "a.b", "config.yaml", 12)) == "config.yaml:12: a.b: is wrong"
    assert str(Problem("is wrong", "a.b", "config.yaml")) == "config.yaml: a.b: is wrong"
    assert str(Problem("is wrong", "a.b")) == "a.b: is wrong"
    assert str(Problem("is wrong")) == "is wrong"


def test_an_error_is_one_problem_a_line() -> None:
    assert str(ConfigError([Problem("one"), Problem("two")])) == "one\ntwo"


def test_paths_quote_keys_that_could_be_misread() -> None:
    assert key_path(("a", 1, "b-c", "x.y", "", "ü")) == 'a[1].b-c["x.y"][""]["ü"]'


def test_an_unknown_key_is_told_with_the_nearest_known_one_wherever_it_stands() -> None:
    assert told({"lsted": 1}) == {("lsted",): "unknown key; did you mean `listed`?"}
    assert told({"listed": [{"nmber": 1}]}) == {("listed", 0, "nmber"): "unknown key; did you mean `number`?"}
    assert told({"named": {"x": {"qqq": 1}}}) == {("named", "x", "qqq"): "unknown key; known here: word, number"}


def test_values_are_shown_unless_they_may_be_secret() -> None:
    assert told({"named": {"x": {"number": "abc"}}}) == {("named", "x", "number"): 'must be a whole number (got "abc")'}
    assert told({"named": {"x": {"number": "abc"}}}, secretive=True) == {("named", "x", "number"): "must be a whole number"}


def test_a_path_is_asked_for_in_words() -> None:
    class Files(BaseModel):
        directory: pathlib.Path

    with pytest.raises(ValidationError) as caught:
        Files.model_validate({"directory": 5})

    assert faults(caught.value, Files, secretive=True) == [
        (("directory",), "must be the path of a file or folder (put it in quotes)")
    ]


def test_a_number_where_a_text_belongs_is_not_shown_since_it_may_be_a_key() -> None:
    assert told({"named": {"x": {"word": 123456}}}) == {("named", "x", "word"): "must be a text (put it in quotes)"}
