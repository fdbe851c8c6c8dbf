"""Behaviours laid over each other, and the list of those to come."""

from tornado_gateway.testing import Behaviour, cut, error_line, fail, hang, say
from tornado_gateway.testing.behaviour import NOTHING, Rule, Script
from tornado_gateway.testing.native import NativeRequest

CHAT = NativeRequest("/api/chat", "llama3.2", messages=[{"role": "user", "content": "about ships"}])


def test_what_is_said_beats_the_default_and_the_rest_is_the_defaults() -> None:
    both = say("a", burst=False).over(Behaviour(text="b", burst=True, tokens=3))

    assert (both.text, both.burst, both.tokens) == ("a", False, 3)
    assert say("a").over(NOTHING) == say("a")


def test_the_short_forms_say_what_they_mean() -> None:
    assert fail(503, "x") == Behaviour(status=503, error="x")
    assert error_line(2, "x", text="t") == Behaviour(error="x", error_after=2, text="t")
    assert cut(after_bytes=9, reset=True) == Behaviour(stop_after_bytes=9, end="reset")
    assert hang() == Behaviour(stop_after_bytes=0, end="hang")
    assert hang(after_records=3) == Behaviour(stop_after_records=3, end="hang")


def test_the_first_rule_that_matches_is_used_as_often_as_it_says() -> None:
    script = Script()
    script.add(Rule(say("other"), model="other"))
    script.add(Rule(say("ships"), text="ships", times=2))
    script.add(Rule(say("any"), times=None))

    texts = [behaviour.text for _ in range(4) if (behaviour := script.take("/api/chat", CHAT))]

    assert texts == ["ships", "ships", "any", "any"]
    assert len(script) == 2
    assert script.take("/api/tags", None) is None


def test_a_rule_for_a_path_is_for_no_other() -> None:
    rule = Rule(fail(), path="/api/show")

    assert rule.matches("/api/show", None)
    assert not rule.matches("/api/chat", CHAT)
