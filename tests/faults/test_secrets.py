"""C09, O1: no key, prompt or answer stands in anything that the gateway writes, whatever goes wrong, however much is logged."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from faults.oracles import serving

from tornado_gateway.testing import FakeOllama, cut, error_line, fail, say
from tornado_gateway_auth_keys import new_key

ROOT = Path(__file__).parents[2]
PLAIN, MADE, UPSTREAM = "canary key of any form 7f3a", new_key(), "canary-upstream-credential-91"
WRONG = "sk-canary-wrong-key-0123456789"
PROMPT, ANSWER = "canary-prompt-5521", "canary-answer-8812"
SECRETS = (PLAIN, MADE, UPSTREAM, WRONG, PROMPT, ANSWER)


def body(**more: Any) -> bytes:
    return json.dumps({"model": "llama3.2", "messages": [{"role": "user", "content": PROMPT}], **more}).encode()


def plugins(logs: Path) -> list[Any]:
    keys = [{"name": "plain", "key": PLAIN}, {"name": "made", "key": MADE}]
    return [
        {"logging": {"directory": str(logs), "level": "debug", "console": "json"}},
        {"auth": {"keys": keys}},
        {"rate_limit": {"requests_per_minute": 1000}},
        {"cache": {}},
    ]


async def test_c09_no_secret_stands_in_any_log_or_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with (
        FakeOllama() as ollama,
        serving(
            ollama.url,
            canaries=(PLAIN, MADE, UPSTREAM, WRONG),
            plugins=plugins(tmp_path),
            upstream={"headers": {"X-Key": UPSTREAM}},
        ) as served,
    ):
        leaky = f"cannot open http://user:{UPSTREAM}@10.0.0.1/ with Bearer {UPSTREAM} for {PROMPT}"
        ollama.next(say(ANSWER), fail(500, leaky), error_line(2, leaky, text=ANSWER * 4), cut(after_records=1, text=ANSWER))
        for key, more in ((PLAIN, {}), (MADE, {"seed": 1}), (MADE, {"stream": True}), (PLAIN, {"stream": True, "seed": 2})):
            await served.ask(body(**more), key=key)
        ollama.next(say(ANSWER))

        wrong = await served.ask(body(), key=WRONG)
        query = await served.ask(body(), key=None, path=f"/v1/chat/completions?api_key={MADE}")
        unknown = await served.ask(body(), key=MADE, path=f"/v1/{WRONG}?token={MADE}")
        odd = await served.ask(body(), key=PLAIN + "\x07", more=f"X-Api-Key: {WRONG}\r\n")
        invalid = await served.ask(body(temperature=PROMPT), key=MADE)
        broken = await served.raw(f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization : Bearer {MADE}\r\n\r\n".encode())

        assert [answer.status for answer in (wrong, query, unknown, invalid)] == [401, 400, 404, 400]
        assert odd.status in (400, 401)
        assert b" 400 " in broken
        assert not [
            secret
            for secret in (PROMPT, ANSWER)
            for answer in (wrong, query, unknown, odd, invalid)
            if secret.encode() in answer.body
        ]
    # What Ollama was sent, it may have; nobody else.
    assert ollama.ledger.inference[0].headers["x-key"] == UPSTREAM
    written = everything_in(tmp_path)
    assert written.count('"event":"request"') >= 9
    assert found(written, *capfd.readouterr()) == []


def everything_in(folder: Path) -> str:
    return "".join(path.read_text("utf-8") for path in folder.iterdir())


def found(*texts: str) -> list[str]:
    return [secret for secret in SECRETS for text in texts if secret in text]


async def run(*arguments: str, cwd: Path) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-X", "faulthandler", "-m", "tornado_gateway", *arguments)
    return await asyncio.create_subprocess_exec(*command, cwd=cwd, stdout=pipe, stderr=pipe)


async def test_c09_no_secret_stands_in_what_the_program_prints(tmp_path: Path) -> None:
    """`check`, `config`, `plugins`, a run, and the traces of all threads at its violent end (SIGABRT under faulthandler)."""
    async with FakeOllama() as ollama:
        settings = {
            "server": {"port": 0},
            "upstream": {"url": ollama.url, "headers": {"X-Key": UPSTREAM}},
            "plugins": plugins(tmp_path / "logs"),
        }
        file = tmp_path / "config.yaml"
        file.write_text(json.dumps(settings), "utf-8")
        file.chmod(0o600)
        printed: list[str] = []
        for command in ("check", "config", "plugins"):
            process = await run(command, "-c", str(file), cwd=tmp_path)
            printed += [text.decode() for text in await asyncio.wait_for(process.communicate(), 30)]
            assert process.returncode == 0, printed
        file.write_text(
            file.read_text("utf-8").replace('"requests_per_minute": 1000', f'"requests_per_minut": "{PLAIN}"'), "utf-8"
        )
        process = await run("check", "-c", str(file), cwd=tmp_path)
        printed += [text.decode() for text in await asyncio.wait_for(process.communicate(), 30)]
        assert process.returncode == 2

        file.write_text(json.dumps(settings), "utf-8")
        process = await run("serve", "-c", str(file), cwd=tmp_path)
        assert process.stdout is not None
        ready = b""
        async with asyncio.timeout(30):
            while b"http://127.0.0.1:" not in ready and (line := await process.stdout.readline()):
                ready += line
        process.send_signal(signal.SIGABRT)
        printed += [ready.decode(), *(text.decode() for text in await asyncio.wait_for(process.communicate(), 30))]

    assert "Current thread" in printed[-1]
    assert found(*printed) == []
