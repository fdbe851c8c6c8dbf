"""Metadata of the distribution. `plugins/` is a second source root: what stands in it is found as top-level modules."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
PLUGIN_MODULES = sorted(path.stem for path in (ROOT / "plugins").glob("tornado_gateway_*.py"))
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "tornado_gateway" / "__init__.py").read_text("utf-8"))
assert VERSION, "tornado_gateway/__init__.py holds no __version__"

SPEED = ["uvloop>=0.21; sys_platform != 'win32'"]

TEST = [
    "build>=1.2",
    "h11>=0.14",  # a parser that forgives nothing reads what the gateway sends
    "hypothesis>=6.100",
    "joserfc>=1.0",  # of an example: signs and checks its tokens
    "jsonschema>=4.20",
    "openai>=1.109",
    "pip>=23.1",  # installs the wheel into an empty environment; environments made by uv have none
    "psutil>=6",
    "pytest>=8.3",
    "pytest-asyncio>=1.0",
    "pytest-timeout>=2.3",
    "rich>=13.9",  # the tables of the benchmarks
    "setuptools>=77",  # builds the wheel in the tests, without a network
    "trustme>=1.2",
]

DEV = [
    *TEST,
    "codespell>=2.3",
    "cogapp>=3.4",
    "mypy>=1.14",
    "pyright[nodejs]>=1.1.400",  # plugin authors use it; the extra brings the Node that it runs on
    "ruff>=0.9",
    "types-cachetools",
    "types-jsonschema",
    "types-psutil",
    "types-PyYAML",
]

setup(
    name="tornado-gateway",
    version=VERSION[1],
    description="A gateway that makes Ollama speak OpenAI, for many people at once.",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="The tornado-gateway authors",
    license_expression="MIT",
    license_files=["LICENSE"],
    keywords=["ollama", "openai", "gateway", "proxy", "llm", "tornado", "pluggy"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Framework :: AsyncIO",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Internet :: WWW/HTTP :: HTTP Servers",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["tornado_gateway", "tornado_gateway.*"]),
    package_dir={"": "plugins", "tornado_gateway": "tornado_gateway"},
    package_data={"tornado_gateway": ["py.typed"]},
    include_package_data=False,
    py_modules=PLUGIN_MODULES,
    options={"egg_info": {"egg_base": "."}},
    install_requires=[
        "cachetools>=5.5",
        "click>=8.1",
        "httptools>=0.6.4",
        "msgspec>=0.19",
        "pluggy>=1.5",
        "pydantic>=2.12",  # settings of plugins are checked with `extra` given at the call
        "pyyaml>=6.0.2",
        "structlog>=24.4",
        "tornado>=6.6.1,<7",
    ],
    extras_require={"speed": SPEED, "test": TEST, "dev": DEV},
    entry_points={
        "console_scripts": ["tornado-gateway = tornado_gateway.__main__:main"],
        "tornado_gateway": [
            "auth = tornado_gateway_auth:Auth",
            "rate_limit = tornado_gateway_rate_limit:RateLimit",
            "cache = tornado_gateway_cache:Cache",
            "logging = tornado_gateway_logging:Logging",
        ],
        "pytest11": ["tornado_gateway = tornado_gateway.testing.pytest_plugin"],
    },
)
