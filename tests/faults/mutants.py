"""Mutants: each takes one protection away. A proof is worth something when it goes red without what it proves.

`run_mutants.py` applies each to a copy of the tree and runs the cases beside it, of which one must fail.
"""

from __future__ import annotations

from dataclasses import dataclass

CORE = "tornado_gateway"


@dataclass(frozen=True, slots=True)
class Change:
    """`old`, which stands in `file` once, becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is taken away, how, and the cases (pytest's selection, below `tests/`) of which one must go red."""

    name: str
    cases: tuple[str, ...]
    changes: tuple[Change, ...]


def mutant(name: str, cases: str, *changes: tuple[str, str, str]) -> Mutant:
    return Mutant(name, tuple(cases.split()), tuple(Change(*change) for change in changes))


_AGAIN = """async def _again(ask: Callable[[], AsyncGenerator[Sequence[Record], None]]) -> AsyncGenerator[Sequence[Record], None]:
    try:
        async for batch in ask():
            yield batch
    except GatewayError:
        async for batch in ask():
            yield batch


_NO_POLICY = """

_RELEASED_AFTER_SUCCESS = """        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:
            self._hooks.release(places)
            raise
        else:
            self._hooks.release(places)
"""

MUTANTS = (
    mutant(
        "the reader's pace is not waited for",
        "faults/test_slow_readers.py",
        (f"{CORE}/delivery.py", "        await self._sink.drain()\n", "        pass\n"),
    ),
    mutant(
        "a reader that takes nothing is never cut off",
        "faults/test_slow_readers.py",
        (f"{CORE}/downstream/sending.py", "self._movement(stall_seconds)", "self._movement(None)"),
    ),
    mutant(
        "the future is cancelled, the connection to Ollama stays",
        "faults/test_leaving.py",
        (
            f"{CORE}/upstream/connection.py",
            "        self._detach()\n        if self.transport is not None:\n            self.transport.abort()\n",
            "        self._detach()\n",
        ),
    ),
    mutant(
        "the cache does not know tenants",
        "faults/test_tenants.py",
        ("plugins/tornado_gateway_cache_entries.py", 'f"{SCHEMA}", tenant, call', 'f"{SCHEMA}", call'),
    ),
    mutant(
        "parts of the cache's key run together",
        "faults/test_tenants.py faults/test_fuzz_parsers.py",
        ("plugins/tornado_gateway_cache_entries.py", '[f"{len(part)}:{part}" for part in parts]', "parts"),
    ),
    mutant(
        "a broken stream ends with [DONE]",
        "faults/test_integrity.py",
        (
            f"{CORE}/wire/openai_chat_encode.py",
            '        return sse.event({"error": error.body()})',
            '        return sse.event({"error": error.body()}) + sse.DONE',
        ),
    ),
    mutant(
        "a broken stream ends with the terminator of its body",
        "faults/test_integrity.py",
        (
            f"{CORE}/handlers/reply.py",
            "            self.write(self._fail(error))\n",
            '            self.write(self._fail(error))\n            self._peer.write(b"0\\r\\n\\r\\n")\n',
        ),
    ),
    mutant(
        "an answer without `done: true` counts as whole",
        "faults/test_integrity.py upstream/test_answer.py",
        (f"{CORE}/exchange.py", "        if not whole:\n", "        if not whole and index < 0:\n"),
        (
            f"{CORE}/upstream/answer.py",
            '        error = UpstreamClosed("Ollama ended its answer before it was whole.")',
            "        pass",
        ),
    ),
    mutant(
        "a body without length and chunks is believed",
        "faults/test_integrity.py",
        (
            f"{CORE}/upstream/response.py",
            "        if length == self._chunked and not",
            "        if length and self._chunked and not",
        ),
    ),
    mutant(
        "a key is looked up by its first characters",
        "faults/test_tenants.py",
        (
            "plugins/tornado_gateway_auth_keys.py",
            "    return hashlib.sha256(key.encode()).digest()",
            "    return hashlib.sha256(key[:20].encode()).digest()",
        ),
    ),
    mutant(
        "who cannot be known is anonymous",
        "faults/test_plugins_that_fail.py",
        (
            f"{CORE}/hooks.py",
            '                raise AuthUnavailable("Keys cannot be checked at the moment.", retry_after=1) from error',
            "                return ANONYMOUS",
        ),
    ),
    mutant(
        "an answer of `authenticate` that is nobody counts",
        "faults/test_plugins_that_fail.py",
        (f"{CORE}/hooks.py", "            if isinstance(principal, Principal):\n", "            if principal is not None:\n"),
    ),
    mutant(
        "logs are not searched for keys",
        "faults/test_secrets.py",
        (
            "plugins/tornado_gateway_logging_redaction.py",
            "    return _SECRET.sub(REDACTED, text) if _HINT.search(text) else text",
            "    return text",
        ),
    ),
    mutant(
        "what Ollama says of its failure is passed on as it is",
        "faults/test_secrets.py wire/test_scrub.py",
        (f"{CORE}/wire/scrub.py", "    return _short(_PRIVATE.sub(GAP, _line(text)), max_chars)", "    return text"),
    ),
    mutant(
        "nobody watches whether the client is there",
        "faults/test_leaving.py",
        (f"{CORE}/presence.py", '    if hasattr(select, "EPOLLRDHUP"):\n        return _EpollPresence()\n', ""),
        (f"{CORE}/presence.py", '    if hasattr(select, "kqueue"):\n        return _KqueuePresence()\n', ""),
    ),
    mutant(
        "what failed is asked again",
        "faults/test_integrity.py",
        (
            f"{CORE}/exchange.py",
            "self._ollama.answer(call, on_first_byte=tally.note_first_byte, outlet=way.outlet)",
            "_again(lambda: self._ollama.answer(call, on_first_byte=tally.note_first_byte, outlet=way.outlet))",
        ),
        (f"{CORE}/exchange.py", "_NO_POLICY = ", _AGAIN),
    ),
    mutant(
        "clients are told to try again what Ollama has begun",
        "faults/test_integrity.py",
        (
            f"{CORE}/handlers/reply.py",
            '"true" if error.retry else "false"',
            '"true" if error.status >= 500 else "false"',
        ),
    ),
    mutant(
        "a connection with bytes left over is used again",
        "upstream/test_client.py upstream/test_response.py",
        (
            f"{CORE}/upstream/response.py",
            "            if not self.ended:\n                self._refuse(error)\n            return\n",
            "            if not self.ended:\n                self._refuse(error)\n            self.clean = self.ended\n            return\n",
        ),
        (
            f"{CORE}/upstream/response.py",
            "self.clean = self._keep_alive and self._ends_with(data)",
            "self.clean = self._keep_alive",
        ),
    ),
    mutant(
        "a place is not given back when the client leaves",
        "faults/test_leaving.py faults/test_tenants.py",
        (f"{CORE}/exchange.py", "        finally:\n            self._hooks.release(places)\n", _RELEASED_AFTER_SUCCESS),
    ),
    mutant(
        "models of the cloud are ordinary models",
        "faults/test_what_is_asked.py",
        (f"{CORE}/names.py", '    return tag == "cloud" or tag.endswith("-cloud")', "    return False"),
    ),
    mutant(
        "every Host name is ours",
        "faults/test_input.py handlers/test_gate.py",
        (f"{CORE}/handlers/gate.py", "    if name in allowed or name.endswith", "    if name or name.endswith"),
    ),
    mutant(
        "bare line ends end a line",
        "faults/test_input.py",
        (
            f"{CORE}/downstream/head.py",
            "        raise _line_ends()\n    if len(data.translate",
            '        data = data.replace(b"\\r", b"").replace(b"\\n", b"\\r\\n")\n    if len(data.translate',
        ),
    ),
    mutant(
        "a length and chunks may stand side by side",
        "faults/test_input.py",
        (f"{CORE}/downstream/head.py", "        if length is not None or not plain", "        if not plain"),
    ),
    mutant(
        "strangers' bodies are read",
        "faults/test_input.py",
        (
            f"{CORE}/handlers/base.py",
            "            await self.peer.linger(generous=isinstance(error, RequestTooLarge))\n",
            "            await self.peer.linger(generous=True)\n",
        ),
    ),
    mutant(
        "nothing is sent while a model loads",
        "faults/test_integrity.py",
        (f"{CORE}/delivery.py", "                self._sink.write(HEARTBEAT)\n", "                pass\n"),
    ),
    mutant(
        "the breaker never opens",
        "upstream/test_breaker.py upstream/test_ollama.py",
        (f"{CORE}/upstream/breaker.py", "        self._failures += 1\n", ""),
    ),
    mutant(
        "connections wait at a place where nobody serves",
        "faults/test_workers.py",
        (f"{CORE}/workers.py", "            place.vacate()\n", ""),
    ),
)
