"""The random numbers of image (seed, epoch, index): Philox4x32-7, one counter per purpose.

Every random number in fracgen is a pure function of a 64-bit key (the seed) and a 128-bit
counter that says what the number is for. There is no state, so images can be made in any
order, on any device, in any number of processes, and come out the same.

=========  ==================================================================
counter    meaning
=========  ==================================================================
word 0     running number inside the purpose (orbit and step block, lattice cell, ...)
word 1     purpose | slot << 8 | view << 16 | stream << 24
word 2     index of the image in its epoch (or of the code in its bank)
word 3     epoch
=========  ==================================================================

Philox4x32 is from Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), which
found seven rounds to be the fewest that pass BigCrush; the choice of a map at every one of
100,000 points makes each round count.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

ROUNDS = 7
MULTIPLIER_0 = 0xD2511F53
MULTIPLIER_1 = 0xCD9E8D57
WEYL_0 = 0x9E3779B9
WEYL_1 = 0xBB67AE85

MASK32 = 0xFFFFFFFF


class Purpose(IntEnum):
    """What a random number is for: the low byte of counter word 1."""

    CODE = 1
    """Sampling a code bank (word 2 is the code)."""
    JITTER = 2
    """Jitter of a code; word 0 is the try, so a rejected try does not disturb the next."""
    OBJECT = 3
    """One attractor's place in the picture: window, flips, stamp, colour, size, position."""
    SCOUT = 4
    """Map choices of the scouting orbits that find the extent."""
    ORBIT = 5
    """Map choices of the orbits that are drawn."""
    SCENE = 6
    """One picture: number of attractors, background colours, crop, blur."""
    NOISE = 7
    """Displacements of the background's lattice; the slot is the level and the kind of point."""
    ORDER = 8
    """The permutation in which an epoch visits its samples."""
    STEP = 9
    """A training step's own numbers, such as dropout's (word 2 is the rank, word 3 the step): no picture's."""
    AUGMENT = 10
    """Augmentation of the picture at a position of an epoch (word 2 is the position, not the sample)."""
    VIEW = 11
    """A Mandelbulb variation's camera and colours."""
    TWINS = 12
    """Two shots of the picture at a position of an epoch, the second damaged (word 2 is the position)."""


class Stream(IntEnum):
    """The top byte of counter word 1: which family of pictures a number belongs to."""

    TRAIN = 0
    VALIDATION = 1


def stream_byte(stream: int) -> int:
    """A stream as the top byte of counter word 1. Raises ValueError where it is outside [0, 255]."""
    if not 0 <= stream <= 255:
        raise ValueError(f"stream {stream} is out of range: use 0 to 255, such as Stream.VALIDATION")
    return int(stream)


def seed_key(seed: int) -> tuple[int, int]:
    """Split a seed in [0, 2^64) into the two 32-bit key words of Philox.

    Raises:
        ValueError: the seed is negative or does not fit 64 bits.

    >>> seed_key(2**32 + 5)
    (5, 1)
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed {seed} is out of range: use an integer from 0 to 2^64 - 1")
    return seed & MASK32, seed >> 32


def philox4x32(
    counter: tuple[NDArray[np.uint64] | int, ...], key: tuple[int, int], rounds: int = ROUNDS
) -> tuple[NDArray[np.uint64], ...]:
    """Philox4x32 on whole arrays: four counter words in, four random 32-bit words out.

    Args:
        counter: four words, each an int or a uint64 array with values below 2^32; they broadcast.
        key: two 32-bit words.
        rounds: 7 here; 10 is the usual choice elsewhere.

    Returns:
        Four uint64 arrays with values in [0, 2^32).

    >>> [hex(word) for word in philox4x32((0, 0, 0, 0), (0, 0))]
    ['0x5f6fb709', '0xd893f64', '0x4f121f81', '0x4f730a48']
    """
    c0, c1, c2, c3 = (np.asarray(c, dtype=np.uint64) for c in counter)
    k0, k1 = key
    m0, m1 = np.uint64(MULTIPLIER_0), np.uint64(MULTIPLIER_1)
    mask, half = np.uint64(MASK32), np.uint64(32)
    for _ in range(rounds):
        p0, p1 = m0 * c0, m1 * c2
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ np.uint64(k0), p1 & mask, (p0 >> half) ^ c3 ^ np.uint64(k1), p0 & mask
        k0, k1 = (k0 + WEYL_0) & MASK32, (k1 + WEYL_1) & MASK32
    return c0, c1, c2, c3
