"""The contract is whole: every hook has its page, its tests, and somebody who really uses it (issue 6, point 5)."""

import re
from pathlib import Path

import pytest

from tornado_gateway.cli.plugins import HOOKS
from tornado_gateway.hookspecs import GatewayHooks

ROOT = Path(__file__).parent.parent
QUESTIONS = ("When:", "Raising:", "Guaranteed:")
TESTS = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
USERS = "\n".join(path.read_text("utf-8") for root in ("plugins", "examples/*") for path in ROOT.glob(f"{root}/*.py"))


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_answers_the_questions(hook: str) -> None:
    doc = getattr(GatewayHooks, hook).__doc__ or ""

    assert all(question in doc for question in QUESTIONS)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_its_page(hook: str) -> None:
    page = (ROOT / "docs" / "hooks.md").read_text("utf-8")

    assert f"\n## {hook}\n" in page
    assert f"\n| `{hook}` |" in page


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_its_test(hook: str) -> None:
    assert re.search(rf"def test_hook_{hook}\w*\(", TESTS)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_a_real_user(hook: str) -> None:
    assert re.search(rf"@hookimpl\s+(async )?def {hook}\(", USERS)
