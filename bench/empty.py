"""What Tornado's server costs without a gateway: a handler that writes a prepared answer. `python -m bench.empty PORT`."""

from __future__ import annotations

import asyncio
import sys

import tornado.web

from bench.prompts import WHOLE, whole_openai
from bench.upstream import loop_factory

_BODY = whole_openai(WHOLE.tokens).partition(b"\r\n\r\n")[2]


class Empty(tornado.web.RequestHandler):
    def post(self) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(_BODY)

    def compute_etag(self) -> None:
        """None, as the gateway does: hashing the answer would be a cost that nobody asked for."""


async def serve(port: int) -> None:
    app = tornado.web.Application([(r"/v1/chat/completions", Empty)], log_function=lambda handler: None)
    app.listen(port, "127.0.0.1", backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(int(sys.argv[1])))
