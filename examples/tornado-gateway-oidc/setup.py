from pathlib import Path

from setuptools import setup

setup(
    name="tornado-gateway-oidc",
    version="0.1.0",
    description="Lets in who brings a token of an OpenID Connect issuer: a plugin for tornado-gateway.",
    long_description=Path("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license_expression="MIT",
    python_requires=">=3.11",
    py_modules=["tornado_gateway_oidc", "tornado_gateway_oidc_keys"],
    install_requires=["joserfc>=1.0", "tornado-gateway"],
    extras_require={"test": ["pytest>=8"]},
    entry_points={"tornado_gateway": ["oidc = tornado_gateway_oidc:Oidc"]},
)
