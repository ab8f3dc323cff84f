"""An epoch: how many samples, which code and class each has, and the order they are visited in.

Sample i of an epoch has class i mod C and code (i div C) mod K of that class, so every class and,
where C * K divides the epoch, every code comes equally often, and the first C samples show every
class once. The order is a keyed permutation computed per position: no table, so position one
million is as near as position one.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fracgen.draws import MASK32, Purpose, Stream, philox4x32, seed_key, stream_byte

ORDER_ROUNDS = 6
MIX_0, MIX_1 = 0x7FEB352D, 0x846CA68B
"""Multipliers of a well-mixing 32-bit integer hash (C. Wellons' hash-prospector)."""

MAX_INDEX = 2**32 - 1


def order_keys(seed: int, epoch: int, stream: int = Stream.TRAIN) -> NDArray[np.uint32]:
    """The round keys of an epoch's permutation: uint32 [6]."""
    number = np.arange(2, dtype=np.uint64)
    words = philox4x32((number, Purpose.ORDER | stream_byte(stream) << 24, 0, epoch), seed_key(seed))
    return np.stack(words, -1).ravel()[:ORDER_ROUNDS].astype(np.uint32)


def half_bits(size: int) -> int:
    """Half the width in bits of the smallest even-width power of two that holds `size` numbers."""
    return max(1, ((size - 1).bit_length() + 1) // 2)


def permute(position: ArrayLike, size: int, keys: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The samples at given positions of an epoch: a Feistel network, walked until it lands in range.

    Args:
        position: integers in [0, size), any shape.
        size: samples in the epoch, at most 2^32.
        keys: from `order_keys`.

    Returns:
        uint32 of the same shape; over all positions, every sample once.

    >>> sorted(permute(range(7), 7, order_keys(seed=0, epoch=0)).tolist())
    [0, 1, 2, 3, 4, 5, 6]
    """
    bits = np.uint64(half_bits(size))
    low = np.uint64((1 << int(bits)) - 1)
    x = np.asarray(position, dtype=np.uint64).copy()
    left = np.ones(x.shape, bool)
    while left.any():
        a, b = x[left] >> bits, x[left] & low
        for key in keys:
            a, b = b, a ^ (_mix(b ^ np.uint64(key)) & low)
        x[left] = a << bits | b
        left[left] = x[left] >= size
    return x.astype(np.uint32)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mask = np.uint64(MASK32)
    x = (x ^ x >> np.uint64(16)) * np.uint64(MIX_0) & mask
    x = (x ^ x >> np.uint64(15)) * np.uint64(MIX_1) & mask
    return x ^ x >> np.uint64(16)


def labels_of(index: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Class of every sample: int64, in [0, classes)."""
    return np.asarray(index, dtype=np.int64) % classes


Whole = TypeVar("Whole", int, "NDArray[np.int64]")
"""A whole number, or int64 of any shape."""


def codes_of(index: Whole, classes: int, per_class: int) -> Whole:
    """Number in the bank of every sample's own code, in [0, classes * per_class). The CPU renderer compiles it.

    >>> codes_of(np.arange(6), classes=2, per_class=3).tolist()
    [0, 3, 1, 4, 2, 5]
    """
    return index % classes * per_class + index // classes % per_class


def index_of(code: int, classes: int, per_class: int) -> int:
    """The first sample whose own code is this one: the inverse of `codes_of`.

    >>> [codes_of(index_of(code, 2, 3), 2, 3) for code in range(6)]
    [0, 1, 2, 3, 4, 5]
    """
    return code // per_class + code % per_class * classes
