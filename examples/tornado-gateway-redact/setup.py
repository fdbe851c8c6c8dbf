from pathlib import Path

from setuptools import setup

setup(
    name="tornado-gateway-redact",
    version="0.1.0",
    description="Takes personal data out of answers: a plugin for tornado-gateway.",
    long_description=Path("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license_expression="MIT",
    python_requires=">=3.11",
    py_modules=["tornado_gateway_redact", "tornado_gateway_redact_patterns"],
    install_requires=["msgspec>=0.19", "tornado-gateway"],
    extras_require={"test": ["hypothesis>=6.100", "pytest>=8"]},
    entry_points={"tornado_gateway": ["redact = tornado_gateway_redact:Redact"]},
)
