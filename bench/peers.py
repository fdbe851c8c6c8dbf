"""Who is measured: this gateway twice, and what a user would take instead. Each says how it is configured and started."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.environments import CACHE, ROOT, Missing, added_megabytes, installed_megabytes, package_megabytes, program, tool
from bench.load import Address
from bench.prompts import MODEL

KEY = Address(0).key
FERROGW = "ferrogw==1.5.10"
LITELLM = "litellm[proxy]==1.106.2"


@dataclass(frozen=True)
class Launch:
    """What to start."""

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """`launch(folder, port, upstream)` writes the configuration and may raise `Missing`."""

    name: str
    title: str
    launch: Callable[[Path, int, int], Launch]
    size: Callable[[], float | None]
    start_seconds: float = 20
    streams: bool = True
    slow: bool = False
    """It takes a hundred times longer than the others: it gets fewer streams and fewer requests, and the table says so."""


def gateway(plugins: str, *, workers: int = 1) -> Callable[[Path, int, int], Launch]:
    """This gateway from the working tree. Limits that one loading machine would hit are raised, nothing else differs from the shipped file."""

    def launch(folder: Path, port: int, upstream: int) -> Launch:
        file = gateway_config(folder, port, upstream, plugins)
        command = [sys.executable, "-m", "tornado_gateway", "serve", "-c", str(file)]
        return Launch(
            command + (["--workers", str(workers)] if workers > 1 else []), {"PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"}
        )

    return launch


def gateway_config(folder: Path, port: int, upstream: int, plugins: str) -> Path:
    text = _GATEWAY.format(port=port, upstream=upstream, plugins=plugins.format(logs=folder / "logs", key=KEY))
    return _written(folder / "config.yaml", text)


def _empty_handler(folder: Path, port: int, upstream: int) -> Launch:
    return Launch([sys.executable, "-m", "bench.empty", str(port)], {"PYTHONPATH": str(ROOT)})


def _nginx(folder: Path, port: int, upstream: int) -> Launch:
    file = _written(folder / "nginx.conf", _NGINX.format(folder=folder, port=port, upstream=upstream))
    return Launch([tool("nginx", "nginx-light"), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(file)])


def _ferrogw(folder: Path, port: int, upstream: int) -> Launch:
    config = {"strategy": {"mode": "single"}, "targets": [{"virtual_key": "ollama"}]}
    file = _written(folder / "config.json", json.dumps(config))
    env = {
        "PORT": str(port),
        "MASTER_KEY": KEY,
        "GATEWAY_CONFIG": str(file),
        "OLLAMA_HOST": f"http://127.0.0.1:{upstream}",
        "FERRO_OLLAMA_MODELS": MODEL,
        # As shipped it refuses more than 20 requests a second.
        "RATE_LIMIT_RPS": "1000000",
        "RATE_LIMIT_BURST": "1000000",
        # It would ask the internet for a catalog of models; this one is refused at once, and the embedded one is used.
        "FERRO_MODEL_CATALOG_URL": f"http://127.0.0.1:{upstream}/catalog.json",
    }
    return Launch([str(program("ferrogw", FERROGW, "ferrogw")), "serve"], env)


def _litellm(folder: Path, port: int, upstream: int) -> Launch:
    parameters = {"model": f"ollama_chat/{MODEL}", "api_base": f"http://127.0.0.1:{upstream}"}
    config = {
        "model_list": [{"model_name": MODEL, "litellm_params": parameters}],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"telemetry": False},
    }
    # JSON is YAML as well.
    file = _written(folder / "litellm.yaml", json.dumps(config))
    binary = program("litellm", LITELLM, "litellm")
    command = [str(binary), "--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    return Launch(command, {"LITELLM_LOCAL_MODEL_COST_MAP": "True"})


def _written(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    file.chmod(0o600)
    return file


_GATEWAY = """\
server:
  port: {port}
  max_connections: 8192
  max_connections_per_address: 8192
  max_body_bytes: 67108864
upstream:
  url: http://127.0.0.1:{upstream}
plugins:{plugins}
"""

NO_PLUGINS = " []"
ALL_PLUGINS = """
  - logging:
      directory: {logs}
  - auth:
      keys:
        - name: default
          key: {key}
  - rate_limit:
      requests_per_minute: 1000000000
  - cache:
      ttl_seconds: 3600
"""

# One worker, as one process of the others; nothing is kept on disk.
_NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 64m;
  client_body_buffer_size 64k;
  keepalive_requests 10000000;
  upstream ollama {{
    server 127.0.0.1:{upstream};
    keepalive 256;
    keepalive_requests 10000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://ollama;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 300s;
    }}
  }}
}}
"""

PLAIN = Peer("plain", "this gateway, no plugins", gateway(NO_PLUGINS), lambda: None)
SHIPPED = Peer("shipped", "this gateway, four plugins", gateway(ALL_PLUGINS), installed_megabytes)
WORKERS = Peer("workers", "this gateway, four plugins, 2 workers", gateway(ALL_PLUGINS, workers=2), lambda: None)
EMPTY = Peer("empty", "empty Tornado handler", _empty_handler, lambda: None, streams=False)
NGINX = Peer("nginx", "nginx, forwarding", _nginx, lambda: package_megabytes("nginx", "nginx-common"))
FERRO = Peer("ferrogw", "ferrogw 1.5.10 (Go)", _ferrogw, lambda: added_megabytes(CACHE / "ferrogw"))
LITE = Peer(
    "litellm", "LiteLLM 1.106.2", _litellm, lambda: added_megabytes(CACHE / "litellm"), start_seconds=120, slow=True
)  # fmt: skip

PEERS = (SHIPPED, PLAIN, FERRO, LITE, NGINX, EMPTY)

__all__ = ["EMPTY", "FERRO", "KEY", "LITE", "NGINX", "PEERS", "PLAIN", "SHIPPED", "WORKERS", "Launch", "Missing", "Peer"]
