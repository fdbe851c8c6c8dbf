"""What the tests of the cache plugin share: the road behind the cache, and calls to send along it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from tornado_gateway.hookspecs import Answer, Context, Message, NativeCall, Outcome, Principal, Record
from tornado_gateway_cache import Cache

NOTHING: Mapping[str, str] = MappingProxyType({})
CALL = NativeCall("/api/chat", "m:latest", "digest", b'{"messages":[]}', stream=False)
STREAMED = replace(CALL, stream=True)
DETERMINISTIC, STREAMED_DETERMINISTIC = replace(CALL, deterministic=True), replace(STREAMED, deterministic=True)
EMBED = NativeCall("/api/embed", "m:latest", "digest", b'{"input":["a"]}', stream=False)
WHOLE = Record(message=Message(content="Hello."), done=True, done_reason="stop", prompt_eval_count=3, eval_count=2)


class Clock:
    def __init__(self) -> None:
        self.now = 500.0

    def __call__(self) -> float:
        return self.now


class Ollama:
    """The road behind the cache: sends, streams in two records where that is asked, tells the cache the whole answer."""

    def __init__(self, cache: Cache, answer: Record = WHOLE) -> None:
        self.cache, self.answer, self.sent = cache, answer, 0
        self.cut = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def forward(self, context: Context, call: NativeCall) -> AsyncGenerator[Sequence[Record], None]:
        self.sent += 1
        await self.gate.wait()
        if call.stream:
            yield [Record(message=self.answer.message)]
        if self.cut:
            raise OSError("cut")
        await self.cache.answered(context, call, self.answer)
        yield [replace_message(self.answer)] if call.stream else [self.answer]

    async def ask(
        self, call: NativeCall = CALL, *, tenant: str = "ada", cache_control: str = "", context: Context | None = None
    ) -> tuple[str, Context]:
        """The text of an answer, as the gateway gets it."""
        context = context or request(tenant, {"cache-control": cache_control} if cache_control else NOTHING)
        answer = await self.cache.answer(context, call, lambda: self.forward(context, call))
        batches = await batches_of(self.forward(context, call) if answer is None else answer)
        text = "".join([record.message.content for batch in batches for record in batch if record.message])
        await self.cache.finished(context, Outcome("complete", 200))
        return text, context


async def batches_of(answer: Answer) -> list[Sequence[Record]]:
    """The batches of an answer, as it comes or known."""
    return [answer] if isinstance(answer, Sequence) else [batch async for batch in answer]


def replace_message(record: Record) -> Record:
    return Record(message=Message(), done=True, done_reason=record.done_reason, eval_count=record.eval_count)


def request(tenant: str = "ada", headers: Mapping[str, str] = NOTHING) -> Context:
    return Context("id", 0.0, 0.0, "127.0.0.1", "POST", "/", headers=headers, principal=Principal(tenant))


def says(context: Context) -> tuple[str | None, str | None]:
    return context.cache, context.response_headers.get("X-Cache")


async def spin(until: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not until():  # noqa: ASYNC110  # a turn of the loop at a time
            await asyncio.sleep(0)
