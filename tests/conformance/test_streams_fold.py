"""A stream folded by openai-python equals the whole answer, and however Ollama's bytes are cut the client gets the same text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from conformance.conftest import Threaded
from hypothesis import given
from hypothesis import strategies as st
from serving import KEY

from tornado_gateway.testing import Behaviour

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {"a": {}}}}}
    for name in ("first", "second")
]
TRAPS = ["\u0085", "\u2028", "\r", "\r\n\r\ndata: x\n\n", "é", "👩‍👩‍👧", "<&>", "[DONE]", '"', "\\", " "]
TEXTS = st.lists(st.text(max_size=8) | st.sampled_from(TRAPS), max_size=8)
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["first", "second"]),
            "arguments": st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=4), max_size=2),
            "index": st.integers(0, 3),
        },
        optional={"id": st.sampled_from(["call_aaaaaaaa", "call_bbbbbbbb", ""])},
    ),
    max_size=3,
)
ANSWERS = st.builds(
    Behaviour,
    pieces=TEXTS.map(tuple),
    thinking=st.none() | st.text(max_size=12),
    tool_calls=CALLS.map(tuple),
    prompt_tokens=st.integers(0, 99),
    eval_tokens=st.integers(0, 99),
)
CUTS = st.fixed_dictionaries(
    {},
    optional={
        "chunk_bytes": st.integers(1, 70),
        "write_bytes": st.integers(1, 70),
        "records_per_chunk": st.integers(1, 4),
        "without_last_newline": st.just(True),
        "burst": st.booleans(),
        "framing": st.sampled_from(["chunked", "length"]),
    },
)


@pytest.fixture(scope="module")
def client(threaded: Threaded) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=threaded.served.base_url, api_key=KEY, max_retries=0) as connected:
        yield connected


@given(ANSWERS, st.booleans())
def test_a_folded_stream_is_the_whole_answer(
    threaded: Threaded, client: openai.OpenAI, answer: Behaviour, logprobs: bool
) -> None:
    asked: dict[str, Any] = {"model": "qwen3", "messages": MESSAGES, "tools": TOOLS, "logprobs": logprobs}
    threaded.next(answer, answer)

    whole = client.chat.completions.create(**asked)
    folded = fold(client, asked)

    assert comparable(folded) == comparable(whole)
    assert whole.choices[0].message.content == ("".join(answer.pieces or ()) or (None if answer.tool_calls else ""))
    calls = [call["function"] for call in whole.to_dict()["choices"][0]["message"].get("tool_calls") or ()]
    assert [(call["name"], json.loads(call["arguments"])) for call in calls] == [
        (call["name"], call["arguments"]) for call in answer.tool_calls or ()
    ]


@given(
    st.integers(2, 5),
    st.integers(0, 9999),
    st.sampled_from([{}, {"tools": TOOLS, "tool_choice": "required"}, {"response_format": {"type": "json_object"}}]),
    st.booleans(),
)
def test_several_choices_fold_to_the_same_choices(
    threaded: Threaded, client: openai.OpenAI, n: int, seed: int, more: dict[str, Any], logprobs: bool
) -> None:
    """Each choice has a seed, and with one the simulated model says the same again."""
    threaded.next()
    asked: dict[str, Any] = {"model": "llama3.2", "messages": MESSAGES, "n": n, "seed": seed, "logprobs": logprobs, **more}

    whole = client.chat.completions.create(**asked)
    folded = fold(client, asked)

    assert len(whole.choices) == n
    assert comparable(folded) == comparable(whole)


@given(TEXTS, st.none() | st.text(min_size=1, max_size=9), CUTS)
def test_c10_however_ollamas_bytes_are_cut_the_client_gets_the_same_text(
    threaded: Threaded, pieces: list[str], thinking: str | None, cuts: dict[str, Any]
) -> None:
    threaded.next(Behaviour(pieces=tuple(pieces), thinking=thinking, **cuts))

    response, body = threaded.post(
        "/v1/chat/completions", json.dumps({"model": "qwen3", "messages": MESSAGES, "stream": True}).encode()
    )

    assert response.status == 200
    *events, done, rest = body.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(event.startswith("data: {") and "\n" not in event for event in events)
    deltas = [json.loads(event.removeprefix("data: "))["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content") or "" for delta in deltas) == "".join(pieces)
    assert "".join(delta.get("reasoning") or "" for delta in deltas) == (thinking or "")


@given(TEXTS, st.booleans(), CUTS)
def test_c10_completions_too(threaded: Threaded, pieces: list[str], stream: bool, cuts: dict[str, Any]) -> None:
    threaded.next(Behaviour(pieces=tuple(pieces), **cuts))

    response, body = threaded.post(
        "/v1/completions", json.dumps({"model": "llama3.2", "prompt": "Once", "stream": stream}).encode()
    )

    assert response.status == 200
    events = [event.removeprefix("data: ") for event in body.decode().split("\n\n")[:-2]] if stream else [body.decode()]
    assert "".join(json.loads(event)["choices"][0]["text"] for event in events) == "".join(pieces)


def fold(client: openai.OpenAI, asked: dict[str, Any]) -> Any:
    with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
        return stream.get_final_completion()


def comparable(answer: Any) -> dict[str, Any]:
    """What must be equal: all but ids, times, and what the SDK itself adds when it folds and parses."""
    found: dict[str, Any] = answer.to_dict()
    for name in ("id", "created", "object"):
        del found[name]
    for choice in found["choices"]:
        for name in ("annotations", "audio", "function_call", "parsed"):
            assert choice["message"].pop(name, None) is None
        calls = choice["message"].pop("tool_calls", None) or []
        assert len({call["id"] for call in calls}) == len(calls)
        choice["calls"] = [(call["type"], call["function"]["name"], call["function"]["arguments"]) for call in calls]
    found["choices"].sort(key=lambda choice: choice["index"])
    return found
