"""What the program that this one grew out of offered, and each thing that it got wrong."""

import json
from collections.abc import AsyncIterator

import pytest
from serving import KEY, Served, chat_request, serving

from tornado_gateway.testing import FakeOllama, fail, say

BODY = {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Hello"}]}
PATH = "/api/chat/completions"


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.fixture
async def served(ollama: FakeOllama) -> AsyncIterator[Served]:
    async with serving(ollama.url) as running:
        yield running


async def ask(served: Served, body: object, *, key: str | None = KEY, path: str = PATH) -> tuple[int, dict[str, str], bytes]:
    answer = await served.raw(chat_request(json.dumps(body).encode(), key=key, path=path, more="Connection: close\r\n"))
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, rest


async def test_its_curl_command_works(served: Served, ollama: FakeOllama) -> None:
    ollama.next(say("Hello!"))

    status, headers, body = await ask(served, BODY)

    assert status == 200
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello!"


async def test_its_streaming_curl_command_works(served: Served, ollama: FakeOllama) -> None:
    ollama.next(say("Hello!"))

    status, headers, body = await ask(served, {**BODY, "stream": True})

    assert status == 200
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert b"data: [DONE]\n\n" in body
    assert body.endswith(b"0\r\n\r\n")


async def test_a_json_line_may_be_split_over_reads(served: Served, ollama: FakeOllama) -> None:
    ollama.next(say("Grüße aus Köln 😀", write_bytes=7, write_seconds=0.001))

    _, _, body = await ask(served, {**BODY, "stream": True})

    events = [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: {")]
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events) == "Grüße aus Köln 😀"


async def test_a_500_to_a_streamed_request_is_an_error(served: Served, ollama: FakeOllama) -> None:
    ollama.next(fail())

    status, headers, body = await ask(served, {**BODY, "stream": True})

    assert status == 502
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["error"]["code"] == "upstream_error"


async def test_a_failed_answer_is_not_cached(ollama: FakeOllama) -> None:
    ollama.next(fail())
    ollama.next(say("Better now."))

    async with serving(ollama.url, plugins=[{"auth": {"keys": [{"name": "a", "key": KEY}]}}, "cache"]) as served:
        first, _, _ = await ask(served, BODY)
        second, _, body = await ask(served, BODY)

    assert (first, second) == (502, 200)
    assert json.loads(body)["choices"][0]["message"]["content"] == "Better now."


async def test_cached_answers_are_not_shared_between_keys(ollama: FakeOllama) -> None:
    keys = [{"name": "a", "key": "key a"}, {"name": "b", "key": "key b"}]
    for text in ("for a", "for b"):
        ollama.next(say(text))

    async with serving(ollama.url, plugins=[{"auth": {"keys": keys}}, "cache"]) as served:
        answers = [await ask(served, BODY, key=key) for key in ("key a", "key b", "key a", "key b")]

    texts = [json.loads(body)["choices"][0]["message"]["content"] for _, _, body in answers]
    assert texts == ["for a", "for b", "for a", "for b"]
    assert [headers["x-cache"] for _, headers, _ in answers] == ["miss", "miss", "hit", "hit"]


async def test_max_tokens_reaches_ollama_under_its_own_name(served: Served, ollama: FakeOllama) -> None:
    await ask(served, {**BODY, "max_tokens": 7})

    sent = ollama.ledger.inference[-1].body
    assert sent["options"]["num_predict"] == 7
    assert "max_tokens" not in sent


async def test_usage_is_what_ollama_counted(served: Served, ollama: FakeOllama) -> None:
    ollama.next(say("Four short words here.", prompt_tokens=1234, eval_tokens=56))

    _, _, body = await ask(served, BODY)

    usage = json.loads(body)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (1234, 56, 1290)


async def test_null_content_is_no_500(served: Served) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None, "tool_calls": []}, *BODY["messages"]]

    status, headers, _ = await ask(served, {**BODY, "messages": messages})

    assert status in (200, 400)
    assert headers["content-type"] == "application/json"


async def test_limits_are_counted_after_authentication(ollama: FakeOllama) -> None:
    plugins = [{"auth": {"keys": [{"name": "a", "key": KEY}]}}, {"rate_limit": {"requests_per_minute": 2}}]

    async with serving(ollama.url, plugins=plugins) as served:
        strangers = [await ask(served, BODY, key="wrong") for _ in range(5)]
        known = [await ask(served, BODY) for _ in range(3)]

    assert [status for status, _, _ in strangers] == [401] * 5
    assert [status for status, _, _ in known] == [200, 200, 429]
    assert int(known[2][1]["retry-after"]) > 0
    assert known[0][1]["x-ratelimit-limit-requests"] == "2"


async def test_there_is_a_list_of_models(served: Served) -> None:
    answer = await served.raw(
        f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n".encode()
    )

    listed = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert listed["object"] == "list"
    assert "llama3.2:latest" in [model["id"] for model in listed["data"]]
