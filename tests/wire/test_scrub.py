"""Nothing private survives; ordinary words do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.wire.scrub import GAP, is_clean, scrubbed

PRIVATE = [
    "/root/.ollama/models/blobs",
    "~/models/x",
    "./lib/ollama",
    "../secret/file",
    r"C:\Users\ada\models",
    r"\\server\share\x",
    "https://user:pw@host:1/p?k=v",
    "unix:///run/ollama.sock",
    "registry.ollama.ai/library/smollm2:135m",
    "gpu-box.corp.example.com",
    "ada@example.org",
    "127.0.0.1:11434",
    "10.1.2.3",
    "[::1]:11434",
    "fe80::dead:beef",
    "::1",
    "localhost:11434",
    "gpubox:8080",
    "sk-abcdefgh",
    "sha256:0123abcd",
    "sha256-0123abcd",
    "d41d8cd98f00b204e9800998ecf8427e",
    "0x7ffdeadbeef",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
]
PLAIN = [
    "model requires more system memory (9.4 GiB) than is available (3.1 GiB)",
    'Unrecognized schema: {"type":"nonsense"}',
    "request (3010 tokens) exceeds the available context size (512 tokens), try increasing it",
    "expected string and/or null at #/$defs/Step",
    "temperature must be between 0 and 2",
    "exit status 2",
    "smollm2:135m",
    "Ünïcödé 漢字",
]


@pytest.mark.parametrize("value", PRIVATE)
@pytest.mark.parametrize("around", ["{}", "open {}: denied", 'Get "{}": EOF', "({})", "at={}, x"])
def test_what_is_private_leaves_a_gap(value: str, around: str) -> None:
    text = around.format(value)

    assert value not in scrubbed(text)
    assert GAP in scrubbed(text)
    assert not is_clean(text)


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_words_stay(text: str) -> None:
    assert scrubbed(text) == text
    assert is_clean(text)


def test_a_bearer_key_of_any_form_is_taken_out() -> None:
    assert "hunter2" not in scrubbed("Authorization: Bearer hunter2")


def test_line_breaks_and_control_characters_become_one_space() -> None:
    assert scrubbed("a\r\n\x00\u2028b\x1b[31m") == "a b [31m"


@given(st.text(max_size=6000))
def test_any_text_becomes_one_bounded_line_that_can_be_encoded(text: str) -> None:
    line = scrubbed(text)

    assert len(line) <= 240
    assert len(line.splitlines()) <= 1
    line.encode()


@pytest.mark.parametrize("piece", ["a.", "a:", "/a", "1.", "a-", "::", "a@a.", "[", "0x"])
@pytest.mark.timeout(2)
def test_a_hostile_text_costs_little(piece: str) -> None:
    scrubbed(piece * 2000)
