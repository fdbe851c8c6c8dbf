"""Files that are nowhere but in memory, for what must not lie on a disk."""

from __future__ import annotations

import os
import tempfile
from typing import IO


def in_memory(data: bytes) -> IO[bytes]:
    """A file to be read once, from its beginning; where the system has none in memory, one without a name."""
    if hasattr(os, "memfd_create"):
        file: IO[bytes] = os.fdopen(os.memfd_create("tornado-gateway"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by who takes it
    file.write(data)
    file.seek(0)
    return file
