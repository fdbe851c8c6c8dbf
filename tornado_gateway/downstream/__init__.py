"""The connections that clients open: bytes to requests for a Tornado application, and answers back.

Tornado's own server would take more of the CPU of a request than all the rest of the gateway (docs/decisions/0021-connections-of-clients.md).
"""

from tornado_gateway.downstream.connection import ClientConnection, House

__all__ = ["ClientConnection", "House"]
