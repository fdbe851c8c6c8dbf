"""Which tools are called, with which arguments."""

from typing import Any

from tornado_gateway.testing.tooluse import cost, numbered, wanted

CITY = {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}}, "required": ["city"]}


def tool(name: str, description: str = "", parameters: Any = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def calls(text: str, *tools: dict[str, Any], role: str = "user") -> list[tuple[str, Any]]:
    return [(made["name"], made["arguments"]) for made in wanted([{"role": role, "content": text}], tools)]


def test_the_tool_that_the_message_is_about_is_called() -> None:
    tools = (tool("get_weather", "Weather of a city", CITY), tool("send_mail", "Send an e-mail"))

    assert calls("How is the weather in Rome?", *tools) == [("get_weather", {"city": "Rome"})]
    assert calls("Mail it to Ada", *tools) == [("send_mail", {})]
    assert calls("Hello", *tools) == []


def test_a_tool_called_by_name_is_called() -> None:
    assert calls("Use f1 now", tool("f1"), tool("f2")) == [("f1", {})]


def test_no_tool_follows_a_tool() -> None:
    assert calls("weather", tool("get_weather", "", CITY), role="tool") == []


def test_a_schema_that_cannot_be_read_gives_no_arguments() -> None:
    assert calls(
        "weather", tool("weather", "", {"type": "object", "properties": {"a": {"items": 5, "type": "x"}}, "required": ["a"]})
    ) == [("weather", {})]


def test_ids_and_indexes_are_made_unless_given() -> None:
    made = numbered({"name": "f", "arguments": {"a": 1}}, 2, "key")

    assert made["function"] == {"index": 2, "name": "f", "arguments": {"a": 1}}
    assert made["id"].startswith("call_")
    assert numbered({"name": "f", "id": None}, 0, "key").keys() == {"function"}
    assert numbered({"name": "f", "id": "x", "index": 7}, 0, "key") == {
        "id": "x", "function": {"index": 7, "name": "f", "arguments": {}},
    }  # fmt: skip


def test_a_longer_call_costs_more() -> None:
    assert cost(numbered({"name": "f", "arguments": {"a": "b c d"}}, 0, "k")) > cost(numbered({"name": "f"}, 0, "k"))
