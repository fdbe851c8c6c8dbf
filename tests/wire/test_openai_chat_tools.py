"""Which tools are offered, and when a call must be made; the vectors 36 to 41 have the rest."""

from typing import Any

import pytest
from chatting import HELLO, WEATHER, native, plan, refused

OTHER = {"type": "function", "function": {"name": "other", "parameters": {"properties": {"x": {"type": "integer"}}}}}
BOTH = [WEATHER, OTHER]


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def offered(**fields: Any) -> list[str]:
    return [tool["function"]["name"] for tool in native(**fields).get("tools", ())]


@pytest.mark.parametrize("choice", [None, "auto"])
def test_tools_are_offered_without_any_constraint(choice: str | None) -> None:
    sent = native(tools=BOTH, tool_choice=choice)

    assert len(sent["tools"]) == 2
    assert "format" not in sent


def test_required_constrains_the_answer_to_a_call_of_one_of_the_tools() -> None:
    sent = native(tools=BOTH, tool_choice="required")

    names = [schema["properties"]["name"]["enum"] for schema in sent["format"]["anyOf"]]
    assert names == [["get_weather"], ["other"]]
    assert all(schema["required"] == ["name", "arguments"] for schema in sent["format"]["anyOf"])
    assert sent["format"]["anyOf"][1]["properties"]["arguments"] == {
        "type": "object",
        "properties": {"x": {"type": "integer"}},
    }


def test_the_grammar_of_a_forced_call_has_the_whole_schema() -> None:
    parameters = {"type": "object", "properties": {"n": {"oneOf": [{"const": 1}, {"minimum": 5, "type": "integer"}]}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}

    assert native(tools=[tool], tool_choice=named("f"))["format"]["properties"]["arguments"] == parameters


@pytest.mark.parametrize("spelling", [named("other"), {"function": {"name": "other"}}, {"type": "function", "name": "other"}])
def test_a_named_function_may_be_spelled_in_three_ways(spelling: Any) -> None:
    assert offered(tools=BOTH, tool_choice=spelling) == ["other"]


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_allowed_tools_leave_only_those(mode: str) -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named("other")]}}

    sent = native(tools=BOTH, tool_choice=choice)

    assert [tool["function"]["name"] for tool in sent["tools"]] == ["other"]
    assert ("format" in sent) is (mode == "required")


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        (named("nobody"), "tool_choice"),
        ("nobody", "tool_choice"),
        ({"type": "function"}, "tool_choice.function.name"),
        ({"type": "custom", "custom": {"name": "x"}}, "tool_choice.type"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}, "tool_choice.allowed_tools.tools"),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named("nobody")]}},
            "tool_choice.allowed_tools.tools",
        ),
        ({"allowed_tools": {"mode": "never", "tools": [named("other")]}}, "tool_choice.allowed_tools.mode"),
    ],
)
def test_a_choice_that_cannot_be_made_is_named(choice: Any, param: str) -> None:
    assert refused(tools=BOTH, tool_choice=choice).param == param


@pytest.mark.parametrize("choice", ["required", named("f")])
def test_a_call_cannot_be_demanded_where_there_are_no_tools(choice: Any) -> None:
    assert refused(tool_choice=choice).param == "tool_choice"
    assert refused(tools=[], tool_choice=choice).param == "tool_choice"


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_a_choice_that_demands_nothing_needs_no_tools(choice: str) -> None:
    assert native(tool_choice=choice) == native()


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "function"}, "function"),
        ({"type": "function", "function": {}}, "function.name"),
        ({"type": "custom", "custom": {"name": "x"}}, "type"),
        ({"type": "web_search"}, "type"),
        ({"function": {"name": "f", "parameters": {"properties": []}}}, "function.parameters"),
        ({"function": {"name": "f", "parameters": {"$ref": "#/$defs/x"}}}, "function.parameters"),
    ],
)
def test_a_tool_that_cannot_be_offered_is_named(tool: Any, param: str) -> None:
    assert refused(tools=[WEATHER, tool]).param == f"tools[1].{param}"


def test_the_number_of_tools_is_bounded() -> None:
    assert refused(tools=[WEATHER] * 129).param == "tools"
    assert refused(functions=[WEATHER["function"]] * 129).param == "functions"


def test_a_model_without_tools_is_not_asked() -> None:
    able = frozenset({"completion"})

    assert refused(capabilities=able, tools=BOTH).param == "tools"
    assert refused(capabilities=able, functions=[WEATHER["function"]]).param == "functions"
    assert "tools" not in plan(capabilities=able, tools=BOTH, tool_choice="none").calls[0].request()


def test_functions_are_tools() -> None:
    sent = native(functions=[WEATHER["function"], OTHER["function"]], function_call={"name": "get_weather"})

    assert sent["tools"] == [WEATHER]
    assert sent["format"]["properties"]["name"]["enum"] == ["get_weather"]
    assert offered(functions=[WEATHER["function"]], function_call="none") == []
    assert refused(functions=[WEATHER["function"]], function_call={"name": "x"}).param == "function_call"
    assert refused(functions=[WEATHER["function"]], function_call="required").param == "function_call"


def test_tools_win_over_functions_which_are_named_as_ignored() -> None:
    both = plan(tools=[WEATHER], functions=[OTHER["function"]], function_call="none")

    assert [tool["function"]["name"] for tool in both.calls[0].request()["tools"]] == ["get_weather"]
    assert both.ignored == ("functions", "function_call")


def test_calls_and_results_in_history_stay_when_no_tools_are_offered() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    history = [*HELLO, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "a", "content": "1"}]

    assert len(native(messages=history, tools=BOTH, tool_choice="none")["messages"]) == 3
