from __future__ import annotations

import pytest

from tornado_gateway.errors import UpstreamInvalidResponse
from tornado_gateway.upstream.inventory import models_of, shown_of, stop_sequences, version_of


@pytest.mark.parametrize("body", [b"{}", b'{"models":null}', b'{"models":[]}', b'{"other":1}'])
def test_no_models_is_an_empty_list(body: bytes) -> None:
    assert models_of(body) == []


def test_an_entry_that_makes_no_sense_is_left_out() -> None:
    body = b'{"models":[{"name":"a"},{"name":7},{},null,{"model":"b","details":null,"size":null},{"name":"c","details":{"families":null,"family":"bert"}}]}'

    models = models_of(body)

    assert [model.name for model in models] == ["a", "b", "c"]
    assert models[2].families == ("bert",)


def test_a_digest_is_given_without_its_prefix() -> None:
    assert models_of(b'{"models":[{"name":"a","digest":"sha256:ff"}]}')[0].digest == "ff"


def test_a_model_that_runs_elsewhere_says_so() -> None:
    model = models_of(b'{"models":[{"name":"a","remote_model":"b","remote_host":"https://c"}]}')[0]

    assert (model.remote_model, model.remote_host) == ("b", "https://c")


def test_an_old_ollama_says_nothing_of_capabilities() -> None:
    shown = shown_of(b'{"model_info":null,"details":{"families":["llama"]}}')

    assert (shown.capabilities, shown.stop, shown.context_length, shown.families) == (None, (), None, ("llama",))


@pytest.mark.parametrize(
    ("parameters", "stop"),
    [
        ("", ()),
        ('stop    "<|a|>"\nstop "b c"\nnum_ctx 4096\nstopper "d"', ("<|a|>", "b c")),
        (r'stop "\n\"\\\t"', ('\n"\\\t',)),
        (r'stop "\u00e9\x41\U0001f600"', ("éA😀",)),
        ("stop plain", ("plain",)),
        ('stop "', ('"',)),
        (r'stop "\U99999999"', ("\U0010ffff",)),
    ],
)
def test_stop_sequences_are_read_as_go_quotes_them(parameters: str, stop: tuple[str, ...]) -> None:
    assert stop_sequences(parameters) == stop


@pytest.mark.parametrize("body", [b"", b"[]", b'{"version":1}', b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_version_is_refused(body: bytes) -> None:
    with pytest.raises(UpstreamInvalidResponse):
        version_of(body)
