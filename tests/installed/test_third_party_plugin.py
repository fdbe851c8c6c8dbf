import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from tornado_gateway.testing import FakeOllama

PACKAGE = Path(__file__).parents[1] / "third_party" / "tornado-gateway-doorman"

CONFIG = """\
server: {{port: 0}}
upstream: {{url: "{url}"}}
plugins:
  - diary: {{journal: journal.txt}}
  - doorman:
      journal: journal.txt
      unwanted: [bob]
"""


@pytest.fixture(scope="session")
def doorman(environment: Path, pip: Callable[[Path, Path], None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment with the stranger's package, installed as `pip install` does it."""
    source = tmp_path_factory.mktemp("source") / PACKAGE.name
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    pip(environment, source)
    return environment


@asynccontextmanager
async def serving(doorman: Path, tmp_path: Path) -> AsyncIterator[str]:
    """A gateway, as a program of that environment, with both plugins on. When it has ended, every `finished` has been called."""
    async with FakeOllama() as ollama:
        (tmp_path / "config.yaml").write_text(CONFIG.format(url=ollama.url))
        server = await asyncio.create_subprocess_exec(
            doorman / "bin" / "tornado-gateway",
            "serve",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert server.stdout
        try:
            yield (await server.stdout.readline()).decode().split()[-1]
        finally:
            server.terminate()
            await asyncio.wait_for(server.communicate(), 20)


async def ask(address: str, user: str) -> HTTPResponse:
    body = json.dumps({"model": "gpt-3.5-turbo", "user": user, "messages": [{"role": "user", "content": "Hello"}]})
    return await AsyncHTTPClient().fetch(f"{address}/v1/chat/completions", method="POST", body=body, raise_error=False)


async def test_a_plugin_of_another_package_is_found_configured_and_called_in_order(doorman: Path, tmp_path: Path) -> None:
    async with serving(doorman, tmp_path) as address:
        response = await ask(address, "alice")

    assert response.code == 200
    assert (tmp_path / "journal.txt").read_text().splitlines() == [
        "diary admit",
        "doorman admit",
        "doorman finished complete 200",
        "diary finished complete 200",
    ]


async def test_a_plugin_of_another_package_can_refuse_a_request(doorman: Path, tmp_path: Path) -> None:
    async with serving(doorman, tmp_path) as address:
        response = await ask(address, "bob")

    assert response.code == 400
    assert json.loads(response.body)["error"] == {
        "message": "Not with these shoes.",
        "type": "invalid_request_error",
        "param": "user",
        "code": "invalid_request",
    }
    assert (tmp_path / "journal.txt").read_text().splitlines()[-1] == "diary finished refused 400"


async def test_its_wrong_settings_are_told_with_the_line(doorman: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("plugins:\n  - doorman:\n      unwanted: [bob]\n      jurnal: x\n")

    check = await asyncio.create_subprocess_exec(
        doorman / "bin" / "tornado-gateway", "check", cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await check.communicate()

    assert check.returncode == 2
    assert errors.decode().splitlines() == [
        "config.yaml:2: plugins[0].doorman.journal: must be given",
        "config.yaml:4: plugins[0].doorman.jurnal: unknown key; did you mean `journal`?",
    ]
