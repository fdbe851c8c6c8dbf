"""The only code that opens connections to Ollama. Others use `Ollama` and the values that it gives, nothing else."""

from tornado_gateway.upstream.answer import Outlet
from tornado_gateway.upstream.inventory import Model, Shown
from tornado_gateway.upstream.ollama import Ollama, UpstreamOptions

__all__ = ["Model", "Ollama", "Outlet", "Shown", "UpstreamOptions"]
