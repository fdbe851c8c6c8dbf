from pathlib import Path

from setuptools import setup

setup(
    name="tornado-gateway-budget",
    version="0.1.0",
    description="A monthly budget of tokens for each tenant: a plugin for tornado-gateway.",
    long_description=Path("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license_expression="MIT",
    python_requires=">=3.11",
    py_modules=["tornado_gateway_budget", "tornado_gateway_budget_ledger"],
    install_requires=["click>=8.1", "tornado-gateway"],
    extras_require={"test": ["pytest>=8"]},
    entry_points={"tornado_gateway": ["budget = tornado_gateway_budget:Budget"]},
)
