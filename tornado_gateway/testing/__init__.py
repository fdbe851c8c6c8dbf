"""A simulated Ollama for tests: real sockets, answers in Ollama's shapes, faults by command, a ledger of what it saw.

    async with FakeOllama() as ollama:
        ollama.next(cut(after_records=2))
        ...                                     # let the gateway call ollama.url
        await ollama.ledger.wait_for(lambda ledger: ledger.in_flight == 0)

`docs/testing.md` tells how to start, script and read it. It imports nothing else of the gateway: what it says of Ollama is
said independently, from recordings. `python -m tornado_gateway.testing` is the same as a program.

`GatewayThread` is a real gateway to put in front of it; with pytest both are there as the fixtures `gateway` and `fake_ollama`.
"""

from typing import TYPE_CHECKING, Any

from tornado_gateway.testing.behaviour import Behaviour, Rule, cut, error_line, fail, hang, say
from tornado_gateway.testing.client import Client, Reply
from tornado_gateway.testing.fake import FakeOllama
from tornado_gateway.testing.ledger import ConnectionEntry, Ledger, LoadEntry, RequestEntry
from tornado_gateway.testing.models import DEFAULT_MODELS, FakeModel
from tornado_gateway.testing.process import OllamaProcess
from tornado_gateway.testing.threaded import OllamaThread

if TYPE_CHECKING:
    from tornado_gateway.testing.served import GatewayThread

__all__ = [
    "DEFAULT_MODELS",
    "Behaviour",
    "Client",
    "ConnectionEntry",
    "FakeModel",
    "FakeOllama",
    "GatewayThread",
    "Ledger",
    "LoadEntry",
    "OllamaProcess",
    "OllamaThread",
    "Reply",
    "RequestEntry",
    "Rule",
    "cut",
    "error_line",
    "fail",
    "hang",
    "say",
]


def __getattr__(name: str) -> Any:
    """The gateway is imported when it is asked for: who wants an Ollama only, does not pay for it."""
    if name == "GatewayThread":
        from tornado_gateway.testing.served import GatewayThread

        return GatewayThread
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
