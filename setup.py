"""Metadata of the distribution. `plugins/` is a second source root: each module in it is one plugin."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
PLUGINS = sorted(path.stem for path in (ROOT / "plugins").glob("tornado_gateway_*.py"))
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "tornado_gateway" / "__init__.py").read_text("utf-8"))
assert VERSION

TEST = [
    "build>=1.2",
    "hypothesis>=6.100",
    "openai>=1.109",
    "psutil>=6",
    "pytest>=8.3",
    "pytest-asyncio>=1.0",
    "pytest-timeout>=2.3",
    "trustme>=1.2",
]

setup(
    name="tornado-gateway",
    version=VERSION[1],
    description="A gateway that makes Ollama speak OpenAI, for many people at once.",
    long_description=(ROOT / "README.md").read_text("utf-8") if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["tornado_gateway", "tornado_gateway.*"]),
    package_dir={"": "plugins", "tornado_gateway": "tornado_gateway"},
    package_data={"tornado_gateway": ["py.typed"]},
    py_modules=PLUGINS,
    options={"egg_info": {"egg_base": "."}},
    install_requires=[
        "cachetools>=5.5",
        "click>=8.1",
        "httptools>=0.6.4",
        "msgspec>=0.19",
        "pluggy>=1.5",
        "pydantic>=2.10",
        "pyyaml>=6.0.2",
        "rich>=13.9",
        "structlog>=24.4",
        "tornado>=6.6.1,<7",
    ],
    extras_require={
        "speed": ["uvloop>=0.21; sys_platform != 'win32'"],
        "test": TEST,
        "dev": [
            *TEST,
            "codespell>=2.3",
            "cogapp>=3.4",
            "mypy>=1.14",
            "ruff>=0.9",
            "types-cachetools",
            "types-psutil",
            "types-PyYAML",
        ],
    },
    entry_points={
        "console_scripts": ["tornado-gateway = tornado_gateway.cli:main"],
        "tornado_gateway": [
            "auth = tornado_gateway_auth:Auth",
            "rate_limit = tornado_gateway_rate_limit:RateLimit",
            "cache = tornado_gateway_cache:Cache",
            "logging = tornado_gateway_logging:Logging",
        ],
    },
)
