"""What `/api/show` tells."""

from tornado_gateway.testing import DEFAULT_MODELS, FakeModel
from tornado_gateway.testing.showing import show


def test_capabilities_and_lengths_are_those_of_the_model() -> None:
    for model in DEFAULT_MODELS:
        answer = show(model)
        assert answer["capabilities"] == list(model.capabilities)
        architecture = answer["model_info"]["general.architecture"]
        assert answer["model_info"][f"{architecture}.context_length"] == model.context_length


def test_parameters_are_lines_of_key_and_quoted_value() -> None:
    answer = show(FakeModel("a", stop=('"<end>"', "\n")))

    assert answer["parameters"].split("\n") == [
        'stop                           "\\"<end>\\""',
        'stop                           "\\n"',
    ]


def test_a_model_without_stop_sequences_has_no_parameters() -> None:
    assert "parameters" not in show(FakeModel("a", stop=()))


def test_sizes_are_counted_in_parameters() -> None:
    assert show(FakeModel("a", parameter_size="134.52M"))["model_info"]["general.parameter_count"] == 134_520_000


def test_a_remote_model_names_its_host() -> None:
    assert show(FakeModel("a:cloud", remote_host="https://ollama.com:443"))["remote_host"] == "https://ollama.com:443"
