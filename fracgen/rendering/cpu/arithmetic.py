"""Numba's half of the arithmetic that CPU and GPU share; `kernels/arithmetic.cuh` is the other.

No libm, no contraction the compiler may choose: every product that is added to something is an
explicit `fma`, every other operation is one IEEE operation, so both halves agree to the last bit.
"""

# mypy: ignore-errors
from __future__ import annotations

import os

import llvmlite.binding as llvm
import llvmlite.ir as ir
import numpy as np
from numba import types
from numba.extending import intrinsic

from fracgen.draws import MULTIPLIER_0, MULTIPLIER_1, ROUNDS, WEYL_0, WEYL_1
from fracgen.rendering.cpu.jit import inner
from fracgen.rendering.records import Sample

LANES = int(os.environ.get("FRACGEN_LANES", 16 if llvm.get_host_cpu_features().get("avx512f") else 8))
"""Orbits advanced together, 8 or 16 (FRACGEN_LANES forces one, for tests). It decides speed only: a lane never
sees another."""

ROUND_TO_INT = 12582912.0
"""1.5 * 2^23: adding it to a float32 below 2^22 in size rounds it to the nearest integer, ties to
even, and leaves that integer in the low bits. NaN and infinity end up far outside any window."""
ROUND_BITS = 0x4B400000

@intrinsic
def fma(typingctx, a, b, c):
    """float32 a * b + c with one rounding."""

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), codegen


@intrinsic
def float_bits(typingctx, a):
    """The bits of a float32 as an int32."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@intrinsic
def bits_float(typingctx, a):
    """The float32 that has the bits of an int32."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


_M0, _M1 = np.uint64(MULTIPLIER_0), np.uint64(MULTIPLIER_1)
_W0, _W1 = np.uint32(WEYL_0), np.uint32(WEYL_1)
_Q = np.uint64
_U32 = np.uint32
_HALF, _LOW = _Q(32), _Q(0xFFFFFFFF)
_F = np.float32
_UNIT = _F(2.0**-24)
_MAGIC = _F(ROUND_TO_INT)
_MAGIC_BITS = np.int32(ROUND_BITS)


@inner
def philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-7 of four uint32 counter words and two uint32 key words: four uint32.

    The words are kept in 64 bits with whatever a product left above bit 31: a SIMD unit multiplies
    the lower halves of 64-bit lanes, and so needs no shuffles between rounds. That halves the time.
    """
    a, b, c, d = _Q(c0), _Q(c1), _Q(c2), _Q(c3)
    for _ in range(ROUNDS):
        p0 = (a & _LOW) * _M0
        p1 = (c & _LOW) * _M1
        a = (p1 >> _HALF) ^ b ^ _Q(k0)
        b = p1
        c = (p0 >> _HALF) ^ d ^ _Q(k1)
        d = p0
        k0 = np.uint32(k0 + _W0)
        k1 = np.uint32(k1 + _W1)
    return np.uint32(a), np.uint32(b), np.uint32(c), np.uint32(d)


@inner
def kind(purpose, slot, view, sample):
    """Counter word 1; see `fracgen.draws`. All uint32, so that one compilation serves every caller."""
    return np.uint32(purpose | slot << np.uint32(8) | view << np.uint32(16) | sample.stream << np.uint32(24))


@inner
def sample_of(samples, k):
    """The k-th of `Samples`, as a `Sample`."""
    return Sample(samples.key0, samples.key1, samples.indices[k], samples.epoch, samples.stream)


@inner
def draw(number, purpose, slot, view, sample):
    """Four random words of a `Sample`; everything is uint32."""
    return philox(number, kind(purpose, slot, view, sample), sample.index, sample.epoch, sample.key0, sample.key1)


@inner
def fill(words, first, count, purpose, slot, view, sample):
    """Random words of the numbers first .. first + count - 1 into words [4, >= count]."""
    k0, k1, index, epoch = sample.key0, sample.key1, sample.index, sample.epoch
    c1 = kind(purpose, slot, view, sample)
    w0, w1, w2, w3 = words[0], words[1], words[2], words[3]
    for i in range(count):
        w0[i], w1[i], w2[i], w3[i] = philox(np.uint32(first + np.uint32(i)), c1, index, epoch, k0, k1)


@inner
def fill_in_order(words, count, purpose, slot, view, sample):
    """Random words of the numbers 0 .. count - 1, four after four, into words [>= 4 * count]."""
    k0, k1, index, epoch = sample.key0, sample.key1, sample.index, sample.epoch
    c1 = kind(purpose, slot, view, sample)
    for i in range(count):
        words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3] = philox(_U32(i), c1, index, epoch, k0, k1)


@inner
def unit(word):
    """Uniform float32 in [0, 1) from the upper 24 bits of a word: exact."""
    return _F(word >> np.uint32(8)) * _UNIT


@inner
def uniform(word, low, high):
    """Uniform float32 in [low, high]."""
    return fma(unit(word), high - low, low)


@inner
def below(word, n):
    """Uniform integer in [0, n), by multiplication."""
    return np.int64((np.uint64(word) * np.uint64(n)) >> _HALF)


@inner
def nearest(v):
    """The integer nearest to a float32 below 2^22 in size, ties to even."""
    return np.int32(float_bits(_F(v + _MAGIC)) - _MAGIC_BITS)


_LOG2E, _LN2_HIGH, _LN2_LOW = _F(1.44269504), _F(0.693359375), _F(-2.12194440e-4)
_EXP = tuple(_F(1 / k) for k in (5040, 720, 120, 24, 6, 2, 1, 1))


@inner
def exp(v):
    """e^v for v in [-80, 0], within 2 units in the last place: a Taylor polynomial in fma."""
    k = nearest(v * _LOG2E)
    r = fma(_F(k), -_LN2_HIGH, v)
    r = fma(_F(k), -_LN2_LOW, r)
    p = _EXP[0]
    for term in _EXP[1:]:
        p = fma(p, r, term)
    for _ in range(-k):
        p = p * _F(0.5)
    return p


@inner
def sin_cos(q):
    """Sine and cosine of q in [-0.5, 0.5] radians, by Taylor polynomials in fma."""
    s = q * q
    sine = fma(fma(fma(s, _F(-1 / 5040), _F(1 / 120)), s, _F(-1 / 6)), s * q, q)
    cosine = fma(fma(fma(s, _F(-1 / 720), _F(1 / 24)), s, _F(-0.5)), s, _F(1.0))
    return sine, cosine
