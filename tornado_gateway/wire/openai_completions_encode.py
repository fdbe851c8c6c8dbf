"""Native records to OpenAI's `text_completion`, whole or streamed. Fields stand in the order in which OpenAI sends them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tornado_gateway.errors import GatewayError
from tornado_gateway.wire import sse
from tornado_gateway.wire.dialect import Stamp
from tornado_gateway.wire.logprobs import TextLogprobs
from tornado_gateway.wire.ollama import Logprob, Record, encode_json
from tornado_gateway.wire.openai_completions_logprobs import Offsets, likelihood

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the encoders of a request have in common."""

    model: str
    """As the client spelled it."""
    digest: str
    prompts: tuple[str, ...]
    choices: int
    """For each prompt."""
    runs: int
    """Native calls for each prompt: at least as many as `choices`, which are the likeliest of them."""
    echo: bool
    logprobs: int | None
    """How many alternatives of each token were asked for; None for no log probabilities at all."""
    include_usage: bool

    @property
    def fingerprint(self) -> str | None:
        """Changes when the model's weights or template change; None when its digest is not known."""
        return f"fp_{self.digest.removeprefix('sha256:')[:10]}" if self.digest else None

    def echoed(self, run: int) -> str:
        """What stands before the text of native call `run`."""
        return self.prompts[run // self.runs] if self.echo else ""

    def head(self, stamp: Stamp) -> dict[str, Any]:
        return {
            "id": f"cmpl-{stamp.id}",
            "object": "text_completion",
            "created": stamp.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


class UsageCount:
    """Ollama's counts: a prompt counts once, whatever the number of its choices; every token that was made counts."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._prompts: dict[int, int] = {}
        self._completion = 0

    def add(self, run: int, record: Record) -> None:
        prompt = run // self._runs
        self._prompts[prompt] = max(self._prompts.get(prompt, 0), record.prompt_eval_count)
        self._completion += record.eval_count

    def total(self) -> dict[str, int]:
        prompt = sum(self._prompts.values())
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self._completion,
            "total_tokens": prompt + self._completion,
        }


class WholeEncoder:
    """Keeps what the choices say and writes it at the end."""

    content_type = "application/json"

    def __init__(self, answer: Answer, stamp: Stamp) -> None:
        self._answer = answer
        self._stamp = stamp
        self._runs = [_Run() for _ in range(len(answer.prompts) * answer.runs)]
        self._usage = UsageCount(answer.runs)

    def feed(self, index: int, records: Sequence[Record]) -> bytes:
        for record in records:
            self._runs[index].add(record)
            if record.done:
                self._usage.add(index, record)
        return b""

    def finish(self) -> bytes:
        chosen = [run for prompt in range(len(self._answer.prompts)) for run in self._best(prompt)]
        choices = [self._written(index, run) for index, run in enumerate(chosen)]
        return encode_json({**self._answer.head(self._stamp), "choices": choices, "usage": self._usage.total()})

    def fail(self, error: GatewayError) -> bytes:
        return encode_json({"error": error.body()})

    def _best(self, prompt: int) -> list[int]:
        """The native calls of a prompt that the client gets, the likeliest first where there was a choice."""
        answer = self._answer
        runs = list(range(prompt * answer.runs, (prompt + 1) * answer.runs))
        if answer.runs > answer.choices:
            runs.sort(key=lambda run: likelihood(self._runs[run].logprobs), reverse=True)
        return runs[: answer.choices]

    def _written(self, index: int, number: int) -> dict[str, Any]:
        run, echoed, asked = self._runs[number], self._answer.echoed(number), self._answer.logprobs
        return {
            "text": echoed + "".join(run.texts),
            "index": index,
            "logprobs": None if asked is None else Offsets(len(echoed)).written(run.logprobs),
            "finish_reason": run.finish,
        }


class _Run:
    """What one native call has said so far."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.logprobs: list[Logprob] = []
        self.finish: FinishReason = "stop"
        self._of_text = TextLogprobs()

    def add(self, record: Record) -> None:
        self.texts.append(record.response)
        self.logprobs += _of_text(self._of_text, record)
        if record.done:
            self.finish = finish_reason(record)


class StreamEncoder:
    """Writes each record as it comes. What all chunks share is made once; the usual record costs one small encode."""

    content_type = sse.CONTENT_TYPE

    def __init__(self, answer: Answer, stamp: Stamp) -> None:
        self._head = b"data: " + encode_json(answer.head(stamp))[:-1] + b',"choices":['
        end = b',"usage":null}\n\n' if answer.include_usage else b"}\n\n"
        self._include_usage = answer.include_usage
        self._choices = [
            _StreamedChoice(self._head, end, index, answer.echoed(index), answer.logprobs)
            for index in range(len(answer.prompts) * answer.choices)
        ]
        self._usage = UsageCount(answer.runs)

    def feed(self, index: int, records: Sequence[Record]) -> bytes:
        choice = self._choices[index]
        out: list[bytes] = []
        for record in records:
            # A record that holds nothing but text, as nearly all do, needs no look at anything else.
            if choice.plain and record.response and not record.done:
                out += (choice.before_text, encode_json(record.response), choice.after_text)
                continue
            choice.write(record, out)
            if record.done:
                self._usage.add(index, record)
        return b"".join(out)

    def finish(self) -> bytes:
        if not self._include_usage:
            return sse.DONE
        return self._head + b'],"usage":' + encode_json(self._usage.total()) + b"}\n\n" + sse.DONE

    def fail(self, error: GatewayError) -> bytes:
        return sse.event({"error": error.body()})


class _StreamedChoice:
    def __init__(self, head: bytes, end: bytes, index: int, echoed: str, logprobs: int | None) -> None:
        self._echoed = echoed
        self._asked = logprobs
        self._of_text = TextLogprobs()
        self._offsets = Offsets(len(echoed))
        self._before_logprobs = b',"index":%d,"logprobs":' % index
        self._end = b"}]" + end
        self.plain = not echoed and logprobs is None
        """Whether a record of text alone can be written without a look at it."""
        self.before_text = head + b'{"text":'
        self.after_text = self._before_logprobs + b'null,"finish_reason":null' + self._end

    def write(self, record: Record, out: list[bytes]) -> None:
        if self._echoed:
            out.append(self._chunk(self._echoed))
            self._echoed = ""
            self.plain = self._asked is None
        entries: Sequence[Logprob] = ()
        if self._asked is not None:
            entries = _of_text(self._of_text, record)
        if record.response or entries or record.done:
            out.append(self._chunk(record.response, entries, finish_reason(record) if record.done else None))

    def _chunk(self, text: str, entries: Sequence[Logprob] = (), finish: FinishReason | None = None) -> bytes:
        logprobs = self._offsets.written(entries) if entries and self._asked is not None else None
        return b"".join(
            (
                self.before_text,
                encode_json(text),
                self._before_logprobs,
                encode_json(logprobs),
                b',"finish_reason":',
                encode_json(finish),
                self._end,
            )
        )


def _of_text(reader: TextLogprobs, record: Record) -> Sequence[Logprob]:
    return reader.of(
        record.logprobs or (), record.response, thought=record.thinking, held=False, called=False, done=record.done
    )


def finish_reason(record: Record) -> FinishReason:
    """OpenAI's word; Ollama's `load`, `unload` and "" are none of OpenAI's, and mean that nothing cut the answer."""
    return "length" if record.done_reason == "length" else "stop"
