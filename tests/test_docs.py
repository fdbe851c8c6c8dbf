"""What the documentation says is so: its examples run, its links lead somewhere, its tables are whole."""

import asyncio
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from serving import KEY, serving

from tornado_gateway.cli.plugins import HOOKS
from tornado_gateway.config import Settings
from tornado_gateway.context import Context
from tornado_gateway.discovery import available
from tornado_gateway.errors import InvalidRequest
from tornado_gateway.hooks import Hooks
from tornado_gateway.testing import FakeOllama

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


async def run(base_url: str, *command: str) -> tuple[int | None, str]:
    environ = {**os.environ, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": KEY}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=pipe, stderr=pipe)
    out, errors = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, (out + (errors if process.returncode else b"")).decode()


def test_the_two_commands_stand_first() -> None:
    first = README[: README.index("\n## ", README.index("## Run it") + 1)]

    assert first.index("make demo") < first.index("make test")


async def test_the_first_request_with_curl_has_the_answer_that_is_shown() -> None:
    (curl,) = [block for block in blocks("sh") if block.startswith("curl ")]

    async with FakeOllama() as ollama, serving(ollama.url) as served:
        code, out = await run(served.base_url, "sh", "-c", curl)

    assert code == 0, out
    shown = re.findall(r'"(\w+)":', blocks("json")[0])
    assert all(f'"{name}":' in out for name in shown)


async def test_the_first_request_in_python_prints_the_answer() -> None:
    (snippet,) = [block for block in blocks("python") if "OpenAI()" in block]

    async with FakeOllama() as ollama, serving(ollama.url) as served:
        code, out = await run(served.base_url, sys.executable, "-c", snippet)

    assert code == 0, out
    assert out


async def test_the_plugin_of_the_readme_refuses_by_day() -> None:
    (source,) = [block for block in blocks("python") if "class Night" in block]
    module: dict[str, Any] = {"__name__": "night"}
    exec(compile(source, "README.md", "exec"), module)
    night = module["Night"]
    context = Context("id", time.time(), 0.0, "127.0.0.1", "POST", "/", resolved_model="large:latest")

    await Hooks([("night", night(night.Settings(model="large:latest", hours=tuple(range(24)))))]).admit(context)
    with pytest.raises(InvalidRequest):
        await Hooks([("night", night(night.Settings(model="large:latest", hours=())))]).admit(context)


def test_the_plugin_of_the_readme_has_about_fifteen_lines() -> None:
    (source,) = [block for block in blocks("python") if "class Night" in block]

    assert len([line for line in source.splitlines() if line.strip()]) <= 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]

    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_every_hook_has_its_heading_with_its_signature() -> None:
    text = (ROOT / "docs" / "hooks.md").read_text("utf-8")

    for name in HOOKS:
        assert f"## {name}\n\n```python\n" in text
        assert f"def {name}(" in text


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    sections = [getattr(Settings(), name) for name in ("server", "upstream", "models", "limits")]
    models = [type(section) for section in sections] + [plugin.load().Settings for plugin in available()]

    for model in models:
        for name in model.model_fields:
            assert f"| `{name}` |" in text, f"{model.__qualname__}.{name}"


def test_every_setting_says_what_it_is() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")

    assert not re.findall(r"^\| `(\w+)` \| .* \|  \|$", text, re.MULTILINE)
