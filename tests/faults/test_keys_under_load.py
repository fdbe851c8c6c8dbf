"""C05 and C06 through a whole gateway: while keys are read again, from good files and broken ones, nobody gets a wrong verdict."""

import asyncio
import json
from collections import Counter
from pathlib import Path

from faults.oracles import Served, chat_request, serving

from tornado_gateway.config import Settings
from tornado_gateway.testing import FakeOllama

BODY = json.dumps({"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}).encode()
ALWAYS, NEVER = "the key that stays", "the key that never was"
BROKEN = ["", "\x00", "always: ", "always the key", "- [", "always: sha256:12", "{", "always: the key that stays\nother"]


def write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o600)


async def verdicts(served: Served, key: str, until: asyncio.Event) -> Counter[int]:
    """Statuses of one request after the other, on new connections, until told to stop; at least a few."""
    found: Counter[int] = Counter()
    while not until.is_set() or found.total() < 5:
        answer = await served.raw(chat_request(BODY, key=key, more="Connection: close\r\n"))
        found[int(answer.split(b" ", 2)[1])] += 1
    return found


async def test_c06_keys_that_are_read_again_under_load_give_no_wrong_verdict(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    write(file, f"always: {ALWAYS}\n")
    auth = {"auth": {"key_file": str(file)}}
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[auth]) as served:
        settings = Settings.model_validate({"upstream": {"url": ollama.url}, "plugins": [auth]})
        over = asyncio.Event()
        callers = [asyncio.ensure_future(verdicts(served, key, over)) for key in (ALWAYS, NEVER) * 4]

        for number in range(40):
            if number % 5 == 4:
                file.unlink()
            elif number % 2:
                write(file, BROKEN[number % len(BROKEN)])
            else:
                write(file, f"always: {ALWAYS}\nother: key number {number}\n")
            await served.gateway.reconfigure(settings)
        over.set()
        found = await asyncio.gather(*callers)

        assert sum(found[0::2], Counter()).keys() == {200}
        assert sum(found[1::2], Counter()).keys() == {401}


async def test_c06_a_revoked_key_is_refused_from_the_next_request_on(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    write(file, f"always: {ALWAYS}\nleaver: a key that goes\n")
    auth = {"auth": {"key_file": str(file)}}
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[auth]) as served:
        settings = Settings.model_validate({"upstream": {"url": ollama.url}, "plugins": [auth]})
        before = await served.raw(chat_request(BODY, key="a key that goes", more="Connection: close\r\n"))

        write(file, f"always: {ALWAYS}\n")
        await served.gateway.reconfigure(settings)
        after = await served.raw(chat_request(BODY, key="a key that goes", more="Connection: close\r\n"))

        assert b" 200 " in before.partition(b"\r\n")[0]
        assert b" 401 " in after.partition(b"\r\n")[0]
