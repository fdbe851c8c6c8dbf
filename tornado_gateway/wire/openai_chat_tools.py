"""Tools and how they must be used: OpenAI's `tools`, `tool_choice`, `parallel_tool_calls` and the older `functions`.

Ollama offers tools to a model but cannot make it call one. Where a call is demanded, the gateway has the answer's text constrained by a
grammar whose only sentences are calls, and reads them as calls (`openai_chat_turn`). The tools are sent all the same, since
the model's template shows them to the model. See `docs/decisions/0010-forced-tool-calls.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tornado_gateway.errors import InvalidRequest, UnsupportedValue
from tornado_gateway.wire.decode import required
from tornado_gateway.wire.dialect import Limits
from tornado_gateway.wire.openai_chat_fields import AllowedTools, ChatRequest, Function, FunctionName, ToolChoice, ToolName
from tornado_gateway.wire.openai_chat_parameters import native_parameters
from tornado_gateway.wire.openai_chat_schema import Budget, resolve


@dataclass(frozen=True, slots=True)
class Offer:
    """One function that the model may call."""

    name: str
    native: Mapping[str, Any]
    """As an item of Ollama's `tools`."""
    parameters: Mapping[str, Any]
    """Its JSON schema, references resolved, nothing else changed: for the grammar of a forced call."""


@dataclass(frozen=True, slots=True)
class Toolbox:
    offers: tuple[Offer, ...] = ()
    forced: bool = False
    """A call must be made."""
    one_call: bool = False
    legacy: bool = False
    """The client speaks of `functions` and expects `function_call`."""
    ignored: tuple[str, ...] = ()

    @property
    def field(self) -> str:
        return "functions" if self.legacy else "tools"

    def call_schemas(self) -> list[dict[str, Any]]:
        """One schema a function: the object that is a call of it."""
        return [_call_schema(offer) for offer in self.offers]


_NO_TOOLS = Toolbox()


def read_toolbox(request: ChatRequest, limits: Limits, budget: Budget) -> Toolbox:
    """Raises `InvalidRequest` or `UnsupportedValue` with the path of the tool or choice at fault."""
    if request.tools:
        box = Toolbox(_tools(request, limits, budget), one_call=request.parallel_tool_calls is False, ignored=_older(request))
        return _choose(box, request.tool_choice, "tool_choice")
    if request.functions:
        functions = _functions(request.functions, limits, budget)
        return _choose(Toolbox(functions, one_call=True, legacy=True), request.function_call, "function_call")
    if request.tool_choice is None and request.function_call is None:
        return _NO_TOOLS
    return _choose(_choose(_NO_TOOLS, request.tool_choice, "tool_choice"), request.function_call, "function_call")


def _older(request: ChatRequest) -> tuple[str, ...]:
    """`tools` win over `functions`, which they replaced."""
    return tuple(name for name in ("functions", "function_call") if getattr(request, name) is not None)


def _tools(request: ChatRequest, limits: Limits, budget: Budget) -> tuple[Offer, ...]:
    tools = request.tools or []
    _check_number(tools, "tools", limits)
    offers = []
    for number, tool in enumerate(tools):
        param = f"tools[{number}]"
        if tool.type not in (None, "function"):
            raise UnsupportedValue(f"`{param}.type` must be function: Ollama knows no other tools.", param=f"{param}.type")
        if tool.function is None:
            raise required(f"{param}.function")
        offers.append(_offer(tool.function, f"{param}.function", budget))
    return tuple(offers)


def _functions(functions: Sequence[Function], limits: Limits, budget: Budget) -> tuple[Offer, ...]:
    _check_number(functions, "functions", limits)
    return tuple(_offer(function, f"functions[{number}]", budget) for number, function in enumerate(functions))


def _check_number(tools: Sequence[Any], param: str, limits: Limits) -> None:
    if len(tools) > limits.max_tools:
        raise InvalidRequest(f"`{param}` may hold {limits.max_tools} items at most.", param=param)


def _offer(function: Function, param: str, budget: Budget) -> Offer:
    if not function.name:
        raise required(f"{param}.name")
    path = f"{param}.parameters"
    schema = {} if function.parameters is None else resolve(function.parameters, path, budget)
    native: dict[str, Any] = {"name": function.name}
    if function.description is not None:
        native["description"] = function.description
    native["parameters"] = native_parameters(schema, path)
    parameters = {"type": "object", **schema}
    if not isinstance(parameters["type"], str):
        parameters["type"] = "object"
    return Offer(function.name, {"type": "function", "function": native}, parameters)


def _choose(box: Toolbox, choice: str | FunctionName | ToolChoice | None, param: str) -> Toolbox:
    """The box with what the choice leaves in it."""
    if choice is None or choice == "auto":
        return box
    if choice == "none":
        return replace(box, offers=(), forced=False)
    if isinstance(choice, str) and (choice != "required" or box.legacy):
        kinds = "none, auto or a function" if box.legacy else "none, auto, required or a function"
        raise InvalidRequest(f"`{param}` must be {kinds}.", param=param)
    if isinstance(choice, ToolChoice) and choice.allowed_tools is not None:
        return _allow(box, choice.allowed_tools, f"{param}.allowed_tools")
    if not isinstance(choice, str):
        box = _only(box, [_name(choice, param)], param)
    if not box.offers:
        raise InvalidRequest(f"`{param}` demands a call, and there are no `{box.field}` to call.", param=param)
    return replace(box, forced=True)


def _allow(box: Toolbox, allowed: AllowedTools, param: str) -> Toolbox:
    if allowed.mode not in (None, "auto", "required"):
        raise InvalidRequest(f"`{param}.mode` must be auto or required.", param=f"{param}.mode")
    path = f"{param}.tools"
    if not allowed.tools:
        raise required(path)
    names = [_name(tool, f"{path}[{number}]") for number, tool in enumerate(allowed.tools)]
    return replace(_only(box, names, path), forced=allowed.mode == "required")


def _name(choice: ToolName | FunctionName, param: str) -> str:
    name = choice.name
    if isinstance(choice, ToolName):
        if choice.type not in (None, "function", "allowed_tools"):
            raise UnsupportedValue(f"`{param}.type` must be function: Ollama knows no other tools.", param=f"{param}.type")
        name = choice.function.name if choice.function else name
    if not name:
        raise required(f"{param}.name" if isinstance(choice, FunctionName) else f"{param}.function.name")
    return name


def _only(box: Toolbox, names: Sequence[str], param: str) -> Toolbox:
    known = {offer.name for offer in box.offers}
    if not known.issuperset(names):
        raise InvalidRequest(f"`{param}` names a function that is not among the `{box.field}`.", param=param)
    return replace(box, offers=tuple(offer for offer in box.offers if offer.name in names))


def _call_schema(offer: Offer) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"type": "string", "enum": [offer.name]}, "arguments": dict(offer.parameters)},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
