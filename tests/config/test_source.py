import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.config.problems import ConfigError
from tornado_gateway.config.source import read_document


def read(text: str, **environ: str) -> object:
    document = read_document(text, "config.yaml", environ)
    assert not document.problems
    return document.values


def told(text: str) -> list[str]:
    try:
        return [str(problem) for problem in read_document(text, "config.yaml", {}).problems]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]


def test_plain_values_are_what_yaml_says() -> None:
    assert read("a: {b: [1, 2.5, true, null, x]}\nd: 2027-01-31") == {
        "a": {"b": [1, 2.5, True, None, "x"]},
        "d": datetime.date(2027, 1, 31),
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null"])
def test_an_empty_file_says_nothing(text: str) -> None:
    assert read(text) == {}


def test_the_environment_cannot_change_the_structure() -> None:
    assert read("a: ${A}\nb: x ${A}", A="{c: 1}\nd: 2") == {"a": "{c: 1}\nd: 2", "b": "x {c: 1}\nd: 2"}


def test_the_environment_is_not_looked_for_in_keys_and_comments() -> None:
    assert read("'${A}': 1 # ${A", A="x") == {"${A}": 1}


def test_what_is_not_given_is_left_out() -> None:
    assert read("a: {key: '${NO}', name: n}\nb: [x, '${NO}', z]") == {"a": {"name": "n"}, "b": ["x", "z"]}


def test_each_key_has_its_line_though_items_are_left_out() -> None:
    document = read_document("a:\n  - ${NO}\n  - b:\n      c: 1\n", "f", {})

    assert str(document.problem(("a", 0, "b", "c"), "wrong")) == "f:4: a[0].b.c: wrong"
    assert str(document.problem(("a", 0, "b", "missing"), "wrong")) == "f:3: a[0].b.missing: wrong"
    assert str(document.problem(("nowhere",), "wrong")) == "f: nowhere: wrong"


def test_a_key_that_stands_twice_is_told_with_both_lines_and_the_rest_goes_on() -> None:
    assert told("a: 1\nb: {c: 1, c: 2}\na: 2\n") == [
        "config.yaml:2: b.c: stands here twice, first in line 2",
        "config.yaml:3: a: stands here twice, first in line 1",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "config.yaml:1: is not YAML"),
        ("a: 1\nb: c: d", "config.yaml:2: is not YAML: mapping values are not allowed"),
        ("a: 1\n\tb: 2", "config.yaml:2: is not YAML"),
        ("[1]", "config.yaml:1: must be a mapping"),
        ("text", "config.yaml:1: must be a mapping"),
        ("a: \x00", "config.yaml: is not YAML"),
        ("a: 1\n---\nb: 2", "config.yaml:2: is not YAML"),
        ("1: x", "config.yaml:1: the key `1` must be a text"),
        ("on: x", "config.yaml:1: the key `on` must be a text"),
        ("a: !!python/object/apply:os.system [x]", "config.yaml:1: a: cannot be read: the tag"),
        ("a: !mine x", "config.yaml:1: a: cannot be read: the tag !mine"),
        ("a: 2026-13-41", "config.yaml:1: a: cannot be read"),
        ("a: ${", "config.yaml:1: a: a reference"),
        ("a: &x [*x]", "config.yaml:1: holds too much, or an anchor within itself"),
        ("a: *x", "config.yaml:1: is not YAML: found undefined alias"),
        ("[" * 5000, "config.yaml"),
        ("x" * 1_000_001, "config.yaml: is over 1000000 characters"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, message: str) -> None:
    assert told(text)[0].startswith(message)


def test_anchors_work_but_do_not_multiply_without_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert read("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}") == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}
    assert "holds too much" in told("\n".join(lines))[0]


@given(st.text() | st.text(alphabet="ab:-[]{}&*!<>|'\"#%@` \n\t0${}~", max_size=60))
def test_any_text_is_read_or_refused_with_problems(text: str) -> None:
    for line in told(text):
        assert line.startswith("config.yaml")
        assert "\n" not in line
