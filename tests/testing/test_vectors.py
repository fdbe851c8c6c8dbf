"""Embeddings are directions that mean something."""

import math

from rawpeer import call

from tornado_gateway.testing import FakeOllama
from tornado_gateway.testing.vectors import shortened, vector


def likeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_a_vector_has_length_one_and_is_the_same_every_time() -> None:
    made = vector("a cat", "m", 384)

    assert math.isclose(likeness(made, made), 1, rel_tol=1e-6)
    assert made == vector("a cat", "m", 384) != vector("a cat", "n", 384)


def test_texts_that_share_words_are_closer() -> None:
    cat, cats, dog = (vector(text, "m", 384) for text in ("the black cat", "the black cats", "stock exchange"))

    assert likeness(cat, cats) > 0.5 > likeness(cat, dog)


def test_a_shortened_vector_has_length_one_again() -> None:
    made = vector("a cat", "m", 384)

    assert math.isclose(math.hypot(*shortened(made, 8)), 1, rel_tol=1e-6)
    assert shortened(made, 0) == shortened(made, 9999) == made


async def test_embeddings_come_in_the_order_of_their_texts() -> None:
    async with FakeOllama() as ollama:
        both = (await call(ollama.port, "POST", "/api/embed", {"model": "all-minilm:l6", "input": ["a", "b"]})).json()
        one = (await call(ollama.port, "POST", "/api/embed", {"model": "all-minilm:l6", "input": "b"})).json()

    assert len(both["embeddings"][0]) == 384
    assert both["embeddings"][1] == one["embeddings"][0]
    assert both["prompt_eval_count"] == 6
