"""Messages between the parent and one worker: msgpack lists over a socket pair, each with its length in front."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_UNSENT_BYTES = 64 * 1024 * 1024
"""What may wait for a peer that is behind; more is refused, not kept."""

_LENGTH = struct.Struct("!I")


class Channel(asyncio.Protocol):
    """One end. `receive` is called with each message; what it raises ends the channel. `lost` is called once, at the end."""

    def __init__(self, receive: Callable[[list[Any]], None], lost: Callable[[], None]) -> None:
        self._receive = receive
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._rest = bytearray()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[Any])

    def send(self, message: Sequence[Any]) -> bool:
        """Send a message; never waits. False when it cannot be sent: too large, too far behind, or closed."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            return False
        data = self._encoder.encode(message)
        if len(data) > MAX_FRAME_BYTES:
            return False
        transport.write(_LENGTH.pack(len(data)) + data)
        return True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._rest)
            if length > MAX_FRAME_BYTES:
                self._abort()
                return
            if len(self._rest) < _LENGTH.size + length:
                return
            frame = bytes(self._rest[_LENGTH.size : _LENGTH.size + length])
            del self._rest[: _LENGTH.size + length]
            self._receive(self._decoder.decode(frame))

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._lost()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
