"""Loads on one address: `wrk` where answers are not streamed, the driver of streams.py where they are."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.prompts import WHOLE, Plan, chat_body
from bench.streams import Spec, command

PATH = "/v1/chat/completions"
_SCRIPT = Path(__file__).with_name("chat.lua")
_SPLIT = "@@@"


@dataclass(frozen=True)
class Address:
    """Where a load goes, and the key that is shown there."""

    port: int
    key: str = "bench-key"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@dataclass(frozen=True)
class Measured:
    """One load: what the driver found, and what was read from outside at its begin and its end."""

    found: dict[str, Any]
    begin: Any
    end: Any


def whole(address: Address, seconds: float, *, connections: int, same: bool = False, filler: str = "",
          image: str | None = None, probe: Callable[[], Any] = lambda: None) -> Measured:  # fmt: skip
    """Answers that are not streamed, as many as come in this time. `same`: the same request again and again."""
    body = chat_body(WHOLE, _SPLIT, stream=False, filler=filler, image=image)
    prefix, _, suffix = body.partition(_SPLIT.encode())
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before"), Path(folder, "after")
        before.write_bytes(prefix)
        after.write_bytes(suffix)
        salt = "same" if same else _salt()
        script = [str(before), str(after), salt, "same" if same else "fresh"]
        arguments = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "60s", "-s", str(_SCRIPT)]
        url = f"http://127.0.0.1:{address.port}{PATH}"
        begin = probe()
        done = subprocess.run(["wrk", *arguments, url, "--", address.key, *script], capture_output=True, text=True, check=True)
        end = probe()
    return Measured(json.loads(done.stdout.strip().splitlines()[-1]), begin, end)


def streamed(address: Address, seconds: float, plan: Plan, *, streams: int, ramp_seconds: float = 1.0,
             probe: Callable[[], Any] = lambda: None, during: Callable[[], Any] = lambda: None) -> Measured:  # fmt: skip
    """Streams that run side by side, each followed by the next one when it ends. `during` is called once, while they all run."""
    spec = Spec(address.port, PATH, streams, seconds, plan, address.headers, ramp_seconds, _salt())
    with subprocess.Popen(command(spec), stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            _expect(driver.stdout.readline(), "begin")
            begin = probe()
            during()
            _expect(driver.stdout.readline(), "end")
            end = probe()
            found = json.loads(driver.stdout.readline())
        except BaseException:
            driver.kill()
            raise
    return Measured(found, begin, end)


def _expect(line: str, word: str) -> None:
    if line.strip() != word:
        raise RuntimeError(f"the driver of streams said {line.strip()!r} where {word!r} was due")


def _salt() -> str:
    return f"{time.time_ns():x}"
