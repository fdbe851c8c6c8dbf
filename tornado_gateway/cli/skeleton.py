"""The files of a new plugin's package, as texts with a few names left open (`string.Template`). Each is also the beginning of what an author needs next."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

FILES: Mapping[str, str] = {
    "setup.py": """\
from pathlib import Path

from setuptools import setup

setup(
    name="$distribution",
    version="0.1.0",
    description="$title, a plugin for tornado-gateway.",
    long_description=Path("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license_expression="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    py_modules=["$module"],
    install_requires=["tornado-gateway"],
    extras_require={"test": ["pytest>=8"]},
    entry_points={"tornado_gateway": ["$name = $module:$cls"]},
)
""",
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[tool.pytest.ini_options]
testpaths = ["tests"]
""",
    "$module.py": '''\
"""$title: says no to models that are closed for now."""

from pydantic import BaseModel, ConfigDict

from tornado_gateway.hookspecs import Context, InvalidRequest, hookimpl


class $cls:
    """Closes models without a restart: the list is read again on SIGHUP."""

    class Settings(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        closed: tuple[str, ...] = ()
        """Models that nobody may use now, as Ollama spells them: `llama3.2:latest`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @hookimpl
    async def reconfigure(self, settings: Settings) -> None:
        self._settings = settings

    @hookimpl
    async def admit(self, context: Context) -> None:
        if context.resolved_model in self._settings.closed:
            raise InvalidRequest(f"The model {context.model} is closed for now.", param="model")
''',
    "tests/test_$module.py": '''\
"""Against a real gateway and a simulated Ollama: the fixtures come with tornado-gateway."""

from tornado_gateway.testing import say

CLOSED = {"$name": {"closed": ["llama3.2:latest"]}}


def test_a_closed_model_is_refused(gateway, fake_ollama):
    answer = gateway(plugins=[CLOSED]).chat("Hello", model="llama3.2")

    assert answer.status == 400
    assert answer.json()["error"]["param"] == "model"
    assert not fake_ollama.ledger.inference


def test_the_other_models_answer(gateway, fake_ollama):
    fake_ollama.next(say("Good morning."))

    answer = gateway(plugins=["$name"]).chat("Hello", model="llama3.2")

    assert answer.status == 200
    assert answer.text == "Good morning."


def test_new_settings_count_without_a_restart(gateway):
    served = gateway(plugins=["$name"])

    served.reconfigure(plugins=[CLOSED])

    assert served.chat("Hello", model="llama3.2").status == 400
''',
    "README.md": """\
# $distribution

$title, a plugin for [tornado-gateway](https://pypi.org/project/tornado-gateway/): says no to models that are closed for now.

Install it beside the gateway, and switch it on with one line below `plugins:` in `config.yaml`:

    pip install $distribution

```yaml
plugins:
  - $name: {closed: ["llama3.3:70b"]}
```

| setting | default | |
|---|---|---|
| `closed` | `[]` | models that nobody may use now, as Ollama spells them |

To work on it:

    pip install -e '.[test]'
    pytest
""",
    "LICENSE": """\
MIT License

Copyright (c) YEAR YOUR NAME

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
""",
    ".gitignore": """\
__pycache__/
*.egg-info/
build/
dist/
.venv/
.pytest_cache/
""",
}
"""By path; a path may hold names, too."""


def filled(names: Mapping[str, str]) -> dict[str, str]:
    """Every file with its names: `name`, `distribution`, `module`, `cls`, `title`."""
    return {Template(path).substitute(names): Template(text).substitute(names) for path, text in FILES.items()}
