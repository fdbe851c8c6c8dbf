"""What the workers of one server share about keys: the key that was made for the run, and who failed how often."""

from __future__ import annotations

from tornado_gateway.hookspecs import Keeper
from tornado_gateway_auth_failures import Tally
from tornado_gateway_auth_keys import new_key


class AuthKeeper(Keeper):
    """Makes one key for all workers, when the first asks for it."""

    def __init__(self) -> None:
        self._key: str | None = None
        self._tally = Tally()

    def key_of_the_run(self, life: int) -> str:
        if self._key is None:
            self._key = new_key()
        return self._key

    def failed(self, life: int, address: str, now: float) -> int:
        """How often this address has failed in its minute, this time included."""
        return self._tally.note(address, now)
