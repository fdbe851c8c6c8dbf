"""docs/reliability.md tells of every case, and every test that it names is there."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| ([CP]\d\d) \| .*? \| (.*) \|$", PAGE, re.MULTILINE))
CASES = [f"C{number:02}" for number in range(1, 55)] + [f"P{number}" for number in range(55, 67)]


def test_every_case_has_a_row() -> None:
    assert list(ROWS) == CASES


def test_every_case_names_a_test_or_says_why_there_is_none() -> None:
    assert [case for case, shown in ROWS.items() if "::" not in shown and not shown.startswith("no test: ")] == []


def test_every_named_test_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)

    missing = [f"{file}::{name}" for file, name in named if name not in functions_of(file)]

    assert missing == []
    assert len(named) >= len(CASES)


def functions_of(file: str) -> set[str]:
    path = TESTS / file
    if not path.exists():
        return set()
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
