"""The program's remote control: commands under `/control/`, a path that Ollama does not have.

Bodies and answers are JSON. A behaviour is an object with the fields of `Behaviour` (`raw` and `trailing` in base64).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec

from tornado_gateway.testing.behaviour import NOTHING, Behaviour, Rule
from tornado_gateway.testing.http import Request
from tornado_gateway.testing.ledger import Ledger
from tornado_gateway.testing.models import FakeModel
from tornado_gateway.testing.replies import Reply, body_reply

_NAMES = frozenset(item.name for item in fields(Behaviour))
_RULE_NAMES = frozenset(item.name for item in fields(Rule))
_COUNTERS = frozenset(
    {"connections_opened", "connections_closed", "open_connections", "requests_seen", "in_flight", "max_in_flight"}
)
_MAX_WAIT_SECONDS = 60.0


class Controlled(Protocol):
    """What the commands act on; `FakeOllama` is it."""

    ledger: Ledger
    defaults: Behaviour

    def next(self, *behaviours: Behaviour) -> None: ...
    def script(
        self,
        behaviour: Behaviour,
        *,
        path: str | None = None,
        model: str | None = None,
        text: str | None = None,
        times: int | None = 1,
    ) -> Rule: ...
    def unscript(self, rule: Rule | None = None) -> None: ...
    def add_model(self, model: FakeModel) -> None: ...
    def remove_model(self, name: str) -> None: ...
    def unload(self) -> None: ...
    def drop_connections(self, *, reset: bool = False) -> None: ...


class WrongCommand(Exception):
    """A command that does not exist or has the wrong form."""


class Control:
    """Commands to calls."""

    def __init__(self, ollama: Controlled) -> None:
        self._ollama = ollama

    async def obey(self, request: Request) -> Reply:
        """Do what is asked; 400 says what is wrong with it."""
        command = f"{request.method} {request.path.removeprefix('/control/')}"
        try:
            value = msgspec.json.decode(request.body) if request.body else None
            answer, status = await self._done(command, value, request.target), 200
        except (WrongCommand, msgspec.MsgspecError, KeyError, TypeError) as error:
            answer, status = {"error": f"{type(error).__name__}: {error}"}, 400
        except TimeoutError as error:
            answer, status = {"error": str(error)}, 408
        return body_reply(status, msgspec.json.encode(answer), NOTHING, time.time())

    async def _done(self, command: str, value: Any, target: str) -> Any:
        ollama = self._ollama
        match command:
            case "POST next":
                ollama.next(*map(read_behaviour, value if isinstance(value, list) else [value]))
            case "POST script":
                rule = read_rule(value)
                ollama.script(rule.behaviour, path=rule.path, model=rule.model, text=rule.text, times=rule.times)
            case "DELETE script":
                ollama.unscript()
            case "PUT defaults":
                ollama.defaults = read_behaviour(value)
            case "GET ledger":
                return ollama.ledger.as_json()
            case "DELETE ledger":
                ollama.ledger.clear()
            case "POST wait":
                return await self._wait(**value)
            case "POST models":
                ollama.add_model(msgspec.convert(value, FakeModel))
            case "DELETE models":
                ollama.remove_model(parse_qs(urlsplit(target).query)["name"][0])
            case "POST unload":
                ollama.unload()
            case "POST drop":
                ollama.drop_connections(reset=bool((value or {}).get("reset")))
            case _:
                raise WrongCommand(f"There is no {command!r} here.")
        return {}

    async def _wait(self, counter: str, at_least: int | None = None, at_most: int | None = None, timeout: float = 5.0) -> Any:
        """Until a counter of the ledger is where it should be."""
        if counter not in _COUNTERS:
            raise WrongCommand(f"{counter!r} is no counter; there are {', '.join(sorted(_COUNTERS))}.")

        def reached(ledger: Ledger) -> bool:
            number = getattr(ledger, counter)
            return (at_least is None or number >= at_least) and (at_most is None or number <= at_most)

        await self._ollama.ledger.wait_for(reached, min(timeout, _MAX_WAIT_SECONDS))
        return {counter: getattr(self._ollama.ledger, counter)}


def read_behaviour(value: Any) -> Behaviour:
    """A behaviour from JSON. Raises `WrongCommand` for a field that it does not have."""
    return msgspec.convert(_known(value, "behaviour", _NAMES), Behaviour)


def read_rule(value: Any) -> Rule:
    """A rule from JSON: `behaviour`, and what it is for. Raises `WrongCommand` as well."""
    plain = _known(value, "rule", _RULE_NAMES)
    read_behaviour(plain.get("behaviour"))
    return msgspec.convert(plain, Rule)


def _known(value: Any, what: str, names: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise WrongCommand(f"A {what} is an object.")
    unknown = sorted(set(value) - names)
    if unknown:
        raise WrongCommand(f"A {what} has no {', '.join(unknown)}.")
    return value


def write_behaviour(behaviour: Behaviour) -> dict[str, Any]:
    """The opposite of `read_behaviour`."""
    plain: dict[str, Any] = msgspec.to_builtins(behaviour, enc_hook=repr)
    return {name: item for name, item in plain.items() if item is not None}
