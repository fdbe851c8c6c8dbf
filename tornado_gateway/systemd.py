"""Words for systemd (`Type=notify`), when it listens. Source: sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket
import time


def notify(state: str, *, monotonic: bool = False) -> None:
    """Send a line such as `READY=1` to `$NOTIFY_SOCKET`; without it nothing happens. Failures are nobody's concern here."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if monotonic:
        state += f"\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
    path = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
        notifier.connect(path)
        notifier.send(state.encode())
