"""What the workers of one server share about keys: the key that was made for the run, the last good key file, and who failed how often."""

from __future__ import annotations

from typing import Any

from tornado_gateway.hookspecs import Keeper
from tornado_gateway_auth_failures import Tally
from tornado_gateway_auth_keys import new_key


class AuthKeeper(Keeper):
    """Makes one key for all workers, when the first asks for it. Reads no files: a disk that hangs must not hold up the parent."""

    def __init__(self) -> None:
        self._key: str | None = None
        self._key_file: dict[str, Any] | None = None
        self._tally = Tally()

    def key_of_the_run(self, life: int) -> str:
        if self._key is None:
            self._key = new_key()
        return self._key

    def key_file(self, life: int) -> dict[str, Any] | None:
        """What is in force, `{"file": ...}` with `KeyFile.plain` or None for no file; None before a worker has said so."""
        return self._key_file

    def key_file_is(self, life: int, file: dict[str, Any] | None) -> None:
        """Workers say so at their start and after each reload."""
        self._key_file = {"file": file}

    def failed(self, life: int, address: str, now: float) -> int:
        """How often this address has failed in its minute, this time included."""
        return self._tally.note(address, now)
