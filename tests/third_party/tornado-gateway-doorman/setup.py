from setuptools import setup

setup(
    name="tornado-gateway-doorman",
    version="0.3.0",
    py_modules=["tornado_gateway_doorman"],
    install_requires=["tornado-gateway"],
    entry_points={
        "tornado_gateway": [
            "doorman = tornado_gateway_doorman:Doorman",
            "diary = tornado_gateway_doorman:Diary",
        ],
    },
)
