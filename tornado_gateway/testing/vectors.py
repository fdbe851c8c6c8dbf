"""Embeddings: one direction for each text, the same every time, of length one."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from hashlib import blake2b

_BLOCK = 16


def vector(text: str, model: str, length: int) -> list[float]:
    """A vector of float32 values. Words that two texts share bring their vectors closer, as a real model's would."""
    words = text.lower().split() or [text]
    total = [0.0] * length
    for word in dict.fromkeys(words):
        for index, number in enumerate(_direction(word, model, length)):
            total[index] += number
    return normalised(total)


def shortened(values: Sequence[float], dimensions: int) -> list[float]:
    """Cut to `dimensions` and normalised anew; whole when that is nothing or more than there are."""
    return normalised(values[:dimensions]) if 0 < dimensions < len(values) else list(values)


def normalised(values: Sequence[float]) -> list[float]:
    """Length one, rounded to what Go prints of a float32."""
    length = math.sqrt(math.fsum(number * number for number in values)) or 1.0
    return [float(f"{number / length:.8g}") for number in values]


def _direction(word: str, model: str, length: int) -> list[float]:
    seed = f"{model}|{word}".encode("utf-8", "replace")
    data = b"".join(
        blake2b(seed, digest_size=64, salt=block.to_bytes(_BLOCK, "little")).digest() for block in range(-(-length * 2 // 64))
    )
    return [number / 32768 for number in struct.unpack(f"<{length}h", data[: 2 * length])]
