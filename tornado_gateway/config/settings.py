"""The settings: one frozen model a section, whose fields, defaults and descriptions the documentation is printed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tornado_gateway.config.values import (
    Flag,
    Headers,
    Host,
    HostName,
    KeepAlive,
    Options,
    Origin,
    Targets,
    Text,
    Think,
    UnshownText,
    UpstreamURL,
    seconds,
    whole,
)

LoadTime = Literal["keep_alive", "main_gpu", "num_batch", "num_ctx", "num_gpu", "num_thread", "shift", "use_mmap"]
"""What makes Ollama load a model anew, or keeps it in memory: callers cannot set it unless `models.defaults` allows it."""

_WHOLE_SECONDS = 600.0


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class TLSSettings(_Section):
    """A certificate for clients that come by https; both files are re-read on SIGHUP."""

    certificate: Text = Field(description="File with the certificate and its chain, PEM.")
    key: UnshownText = Field(description="File with the private key, PEM.")


class ServerSettings(_Section):
    """How clients reach the gateway."""

    host: Host = Field(
        default="127.0.0.1", description="Address to listen at; `0.0.0.0` or `::` for everybody who can reach the machine."
    )
    port: Annotated[int, whole(0, 65535)] = Field(default=3000, description="Port to listen at; 0 takes a free one.")
    max_header_bytes: Annotated[int, whole(1024, 262_144)] = Field(
        default=16_384, description="The longest request line and headers, together."
    )
    max_body_bytes: Annotated[int, whole(1)] = Field(
        default=20_971_520, description="The largest request body, images included."
    )
    max_connections: Annotated[int, whole(1)] = Field(default=1024, description="Connections of clients in all.")
    max_connections_per_address: Annotated[int | None, whole(1)] = Field(
        default=None,
        description="Connections of one address; null: half of `max_connections`. Both are lowered to fit the limit of open files.",
    )
    body_seconds: Annotated[float, seconds()] = Field(
        default=30, description="For the head and the body of a request to arrive."
    )
    keepalive_seconds: Annotated[float, seconds()] = Field(
        default=30, description="How long an idle connection of a client stays open."
    )
    allowed_hosts: tuple[HostName, ...] = Field(
        default=(),
        description="More `Host` names than the address itself, localhost and this machine's name; checked on loopback addresses.",
    )
    cors_origins: tuple[Origin, ...] = Field(
        default=(),
        description="Web pages that may ask, such as `https://chat.example.org`; browsers are refused unless named here.",
    )
    allow_anonymous: Flag = Field(
        default=False, description="Whether to serve beyond this machine without any plugin that authenticates."
    )
    tls: TLSSettings | None = Field(default=None, description="`certificate` and `key` files, to serve https.")
    upstream_failure_status: Annotated[int | None, whole(500, 599)] = Field(
        default=None, description="One status for every failure of Ollama; 500 is what the older program answered."
    )
    drain_seconds: Annotated[float, seconds(zero=True)] = Field(
        default=30, description="How long running requests may go on after the signal to stop."
    )
    heartbeat_seconds: Annotated[float, seconds()] = Field(
        default=15, description="Between two SSE comments while a streamed call waits for its first token."
    )
    headers_after_seconds: Annotated[float, seconds(zero=True)] = Field(
        default=2,
        description="When the head of a streamed answer is sent if there is no token yet; until then a failure still gets its own HTTP status.",
    )
    write_stall_seconds: Annotated[float, seconds()] = Field(
        default=30, description="A reader that takes nothing for so long is cut off."
    )


class UpstreamSettings(_Section):
    """How the gateway reaches Ollama."""

    url: UpstreamURL = Field(
        default="http://localhost:11434",
        description="Ollama's address, http or https; a path before `/api` is kept. Never with credentials in it.",
    )
    headers: Headers = Field(default={}, description="Sent with every call, for an Ollama behind a proxy of its own.")
    connect_seconds: Annotated[float, seconds()] = Field(default=5, description="For a connection to be made.")
    first_byte_seconds: Annotated[float, seconds()] = Field(
        default=300,
        description="For the first byte of an answer: a model may have to load first, and Ollama says nothing meanwhile.",
    )
    whole_seconds: Annotated[float | None, seconds()] = Field(
        default=None,
        description="For an answer that is not streamed: Ollama says nothing before it is whole. "
        "null: `first_byte_seconds`, but 600 where that is left at 300.",
    )
    idle_seconds: Annotated[float, seconds()] = Field(
        default=60,
        description="Between two bytes of an answer; on a call with tools `first_byte_seconds`, if that is longer: "
        "Ollama says nothing while it writes a call.",
    )
    total_seconds: Annotated[float | None, seconds()] = Field(
        default=None, description="For all of an answer, streamed or not; null: no limit."
    )

    @property
    def seconds_until_whole(self) -> float:
        """The limit of an answer that is not streamed. By default OpenAI's clients wait as long, and a machine without a GPU may need it."""
        if self.whole_seconds is not None:
            return self.whole_seconds
        untouched = self.first_byte_seconds == type(self).model_fields["first_byte_seconds"].default
        return _WHOLE_SECONDS if untouched else self.first_byte_seconds


class ModelDefaults(_Section):
    """What holds for every call to one model."""

    options: Options = Field(
        default={},
        description="Ollama's options, sent with every call; those that would make Ollama load the model anew beat the caller's.",
    )
    keep_alive: KeepAlive = Field(
        default=None, description="How long the model stays loaded after a call: seconds, `5m`, or -1."
    )
    think: Think = Field(default=None, description="Whether, or how hard, the model thinks when the caller does not say.")
    allow: tuple[LoadTime, ...] = Field(
        default=(), description="Load-time options, and `keep_alive`, that callers may set all the same."
    )


class ModelsSettings(_Section):
    """Names of models."""

    aliases: dict[Text, Targets] = Field(
        default={"gpt-3.5-turbo": ("llama3.2", "*")},
        description='What clients ask for: what Ollama has. Of a list the first that is there; `"*"` in it: any chat model, a loaded one first.',
    )
    defaults: dict[Text, ModelDefaults] = Field(
        default={},
        description="Per model: `options`, `keep_alive`, `think`, and `allow`, the names of load-time options that callers may set.",
    )


class LimitsSettings(_Section):
    """Bounds on what one request may ask for."""

    max_messages: Annotated[int, whole(1)] = Field(default=2048, description="Messages in one chat.")
    max_tools: Annotated[int, whole(1)] = Field(default=128, description="Tools offered in one chat.")
    max_choices: Annotated[int, whole(1)] = Field(
        default=8, description="`n`, `best_of` and prompts in one completion request, multiplied."
    )
    max_stop: Annotated[int, whole(1)] = Field(default=16, description="Stop sequences.")
    max_inputs: Annotated[int, whole(1)] = Field(default=2048, description="Texts in one embedding request.")
    embed_part: Annotated[int, whole(1)] = Field(
        default=64, description="Texts in one native embedding call: longer lists are sent in parts."
    )


@dataclass(frozen=True, slots=True)
class PluginEntry:
    """A plugin that is on, and its settings as they stand in the file: they may hold keys, so they are not in the repr."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)


def _entry(item: Any) -> Any:
    """`name`, `{name: null}` or `{name: {...}}`, as the list in the file has it."""
    match item:
        case PluginEntry():
            return item
        case str() if item.strip():
            return PluginEntry(str(item.strip()))
        case Mapping() if len(item) == 1:
            name, settings = next(iter(item.items()))
            if settings is None:
                return PluginEntry(str(name))
            if isinstance(settings, Mapping) and all(isinstance(key, str) for key in settings):
                return PluginEntry(str(name), dict(settings))
            raise ValueError(f"the settings of {name} must be a mapping (lines of `key: value`)")
        case Mapping() if len(item) > 1:
            names = ", ".join(str(name) for name in item)
            raise ValueError(
                f"must be one plugin an item, its settings indented further than its name (found beside each other: {names})"
            )
        case _:
            raise ValueError("must be the name of a plugin, or its name with a mapping of settings below it")


DEFAULT_PLUGINS: tuple[PluginEntry, ...] = (
    PluginEntry("logging", {"directory": "logs"}),
    PluginEntry("auth", {"keys": [{"name": "default"}]}),
    PluginEntry("rate_limit", {"requests_per_minute": 60}),
    PluginEntry("cache", {"ttl_seconds": 3600}),
)


class Settings(_Section):
    """All of it. Without arguments: what the shipped `config.yaml` gives in an empty environment."""

    server: ServerSettings = ServerSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    models: ModelsSettings = ModelsSettings()
    limits: LimitsSettings = LimitsSettings()
    plugins: tuple[Annotated[PluginEntry, BeforeValidator(_entry)], ...] = Field(
        default=DEFAULT_PLUGINS, description="In the order in which they are called."
    )
