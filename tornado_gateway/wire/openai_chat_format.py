"""What an answer must look like: `response_format`, Ollama's own `format`, and calls that must be made, as one `format`."""

from __future__ import annotations

from typing import Any

from tornado_gateway.errors import InvalidRequest
from tornado_gateway.wire.decode import required
from tornado_gateway.wire.openai_chat_fields import ChatRequest, ResponseFormat
from tornado_gateway.wire.openai_chat_schema import Budget, resolve
from tornado_gateway.wire.openai_chat_tools import Toolbox

Constraint = str | dict[str, Any] | None
"""`"json"`, a schema, or nothing."""


def output_format(request: ChatRequest, toolbox: Toolbox, budget: Budget) -> tuple[Constraint, tuple[str, ...]]:
    """What is sent as `format`, and the fields without effect.

    A demanded call leaves no room for an answer. Where calls are offered beside a format, the grammar has both for sentences:
    with the format alone a model could never call.
    """
    wanted, unused = _answer_format(request, budget)
    if toolbox.forced:
        given = ("response_format",) if request.response_format and wanted is not None else ()
        return _one_of(toolbox.call_schemas()), (*given, *unused)
    if wanted is None or not toolbox.offers:
        return wanted, unused
    answer = {"type": "object"} if isinstance(wanted, str) else wanted
    return _one_of([*toolbox.call_schemas(), answer]), unused


def _answer_format(request: ChatRequest, budget: Budget) -> tuple[Constraint, tuple[str, ...]]:
    own = None if request.format == "" else request.format
    if request.response_format is not None:
        return _response_format(request.response_format, budget), () if own is None else ("format",)
    if isinstance(own, dict):
        return _schema(own, "format", budget), ()
    return own, ()


def _response_format(wanted: ResponseFormat, budget: Budget) -> Constraint:
    match wanted.type and wanted.type.lower():
        case "text":
            return None
        case "json_object":
            return "json"
        case "json_schema":
            param = "response_format.json_schema"
            if wanted.json_schema is None:
                raise required(param)
            if wanted.json_schema.schema is None:
                raise required(f"{param}.schema")
            return _schema(wanted.json_schema.schema, f"{param}.schema", budget)
        case None:
            raise required("response_format.type")
        case _:
            param = "response_format.type"
            raise InvalidRequest(f"`{param}` must be text, json_object or json_schema.", param=param)


def _schema(schema: dict[str, Any] | bool, param: str, budget: Budget) -> Constraint:
    """A schema that allows everything is JSON of any shape, which Ollama spells in its own way."""
    return resolve(schema, param, budget) or "json"


def _one_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
