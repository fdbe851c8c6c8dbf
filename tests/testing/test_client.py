"""What the plain client makes of answers."""

from tornado_gateway.testing import GatewayThread, OllamaThread, Reply, say


def test_words_are_the_same_streamed_and_not() -> None:
    with OllamaThread() as ollama, GatewayThread(ollama.url) as gateway:
        ollama.next(say("Hello there!"), say("Hello there!"))

        assert gateway.chat("Hi").text == gateway.chat("Hi", stream=True).text == "Hello there!"


def test_arguments_of_a_call_are_the_same_streamed_and_not() -> None:
    calls = [{"name": "weather", "arguments": {"city": "Paris"}}]
    with OllamaThread() as ollama, GatewayThread(ollama.url) as gateway:
        ollama.next(say("", tool_calls=calls), say("", tool_calls=calls))

        assert gateway.chat("Hi").tool_arguments == gateway.chat("Hi", stream=True).tool_arguments == '{"city":"Paris"}'


def test_an_error_has_no_words() -> None:
    reply = Reply(404, {"content-type": "application/json"}, b'{"error": {"code": "not_found"}}')

    assert reply.text == ""
    assert reply.json()["error"]["code"] == "not_found"


def test_bytes_are_sent_as_they_are() -> None:
    with OllamaThread() as ollama, GatewayThread(ollama.url) as gateway:
        assert gateway.request("POST", "/v1/chat/completions", b"{").json()["error"]["code"] == "invalid_json"
        assert gateway.base_url == f"{gateway.url}/v1"
