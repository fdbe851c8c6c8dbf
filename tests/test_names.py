"""Names of models."""

import pytest

from tornado_gateway.names import is_cloud, normal, short


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("llama3.2", "llama3.2:latest"),
        (" Llama3.2:Latest ", "llama3.2:latest"),
        ("library/llama3.2", "llama3.2:latest"),
        ("registry.ollama.ai/library/llama3.2:1b", "llama3.2:1b"),
        ("hf.co/bartowski/Model-GGUF:Q4_K_M", "hf.co/bartowski/model-gguf:q4_k_m"),
        ("host:5000/space/name", "host:5000/space/name:latest"),
    ],
)
def test_spellings_that_mean_the_same_are_one(name: str, same: str) -> None:
    assert normal(name) == same


def test_the_tag_that_goes_without_saying_is_not_said() -> None:
    assert short("llama3.2:latest") == "llama3.2"
    assert short("llama3.2:1b") == "llama3.2:1b"


@pytest.mark.parametrize(
    "name", ["x:cloud", "gpt-oss:120b-cloud", "X:Cloud", "registry.ollama.ai/library/x:cloud", " x:cloud "]
)
def test_c14_names_that_leave_the_machine(name: str) -> None:
    assert is_cloud(name)


@pytest.mark.parametrize("name", ["x-cloud", "cloud", "cloud:latest", "x:cloudy"])
def test_c14_names_that_only_look_like_it(name: str) -> None:
    assert not is_cloud(name)
