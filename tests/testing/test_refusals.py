"""Words of refusals."""

import json

from tornado_gateway.testing.refusals import Refusal, context_exceeded, queue_full, unknown_model


def test_the_runners_words_are_json_inside_a_string() -> None:
    refusal = context_exceeded(3010, 512)

    inner = json.loads(json.loads(refusal.body)["error"])["error"]
    assert (inner["n_prompt_tokens"], inner["n_ctx"], inner["type"]) == (3010, 512, "exceed_context_size_error")
    assert (refusal.status, refusal.by_runner) == (400, True)


def test_an_unknown_model_is_spelled_by_the_endpoint() -> None:
    assert unknown_model("a", "/api/chat").text == "model 'a' not found"
    assert unknown_model("a", "/api/embed").text == 'model "a" not found, try pulling it first'
    assert unknown_model("", "/api/embed").text == "model '' not found"


def test_a_full_queue_has_two_spaces() -> None:
    assert (queue_full().status, ".  maximum" in queue_full().text) == (503, True)


def test_bodies_are_escaped_as_go_does() -> None:
    assert Refusal(400, "<&>").body == b'{"error":"\\u003c\\u0026\\u003e"}'
