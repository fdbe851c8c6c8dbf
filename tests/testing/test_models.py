"""Names of models and what the lists say."""

import pytest

from tornado_gateway.testing import DEFAULT_MODELS, FakeModel
from tornado_gateway.testing.models import canonical_name, is_cloud, qualified_name, tags, with_tag
from tornado_gateway.testing.refusals import Refusal


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("Llama3.2", "llama3.2:latest"),
        (" a:B ", "a:b"),
        ("library/a", "a:latest"),
        ("registry.ollama.ai/library/a:1", "a:1"),
        ("owner/a", "owner/a:latest"),
        ("localhost:5000/owner/a", "localhost:5000/owner/a:latest"),
    ],
)
def test_a_name_has_one_canonical_form(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


@pytest.mark.parametrize("name", ["a b", "../a", "a/b/c/d", "a:", ":a", "a//b", "é", "a:b:c"])
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="invalid model name"):
        canonical_name(name)


def test_only_the_tag_makes_a_cloud_model() -> None:
    assert [is_cloud(canonical_name(name)) for name in ("x:cloud", "x:7b-cloud", "x-cloud", "cloud")] == [
        True,
        True,
        False,
        False,
    ]


def test_full_names_have_host_and_namespace() -> None:
    names = ("a:latest", "owner/a:latest", "hf.co/owner/a:q4")

    assert [qualified_name(name) for name in names] == [
        "registry.ollama.ai/library/a:latest", "registry.ollama.ai/owner/a:latest", "hf.co/owner/a:q4",
    ]  # fmt: skip
    assert with_tag("localhost:5000/o/a") == "localhost:5000/o/a:latest"


def test_the_list_is_newest_first_and_wrong_about_embedding_models() -> None:
    listed = tags(DEFAULT_MODELS)["models"]

    assert [model["modified_at"] for model in listed] == sorted((model["modified_at"] for model in listed), reverse=True)
    embedder = next(model for model in listed if model["name"] == "all-minilm:l6")
    assert embedder["capabilities"] == ["completion"]
    assert "context_length" not in embedder["details"]


def test_a_digest_is_made_from_the_name_unless_given() -> None:
    assert len(FakeModel("a").full_digest()) == 64
    assert FakeModel("a").full_digest() == FakeModel("a:latest").full_digest() != FakeModel("b").full_digest()


def test_the_default_household_can_do_everything() -> None:
    assert {ability for model in DEFAULT_MODELS for ability in model.capabilities} == {
        "completion", "tools", "insert", "vision", "embedding", "thinking", "audio",
    }  # fmt: skip
