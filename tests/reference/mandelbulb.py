"""Orbits of Mandelbulb variations in NumPy, slow and obvious, from the formula's definition: those of many points
side by side, float32 operations one by one, in the order that decides their rounding. `rays` marches through them.

A step takes z to r^p (X, Y, Z) + c. With a = z + i rho and b = (x + i y) r / rho, both of modulus r,
the real and imaginary parts of a^p are r^p cos(p theta) and r^p sin(p theta), those of b^p the same of phi.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fracgen.draws import Purpose
from tests.reference.arithmetic import Draws, F, Floats, fma, sin_cos, unit

BAIL_OUT, ITERATIONS, STEEP = F(16), 32, F(2**20)
Pair = tuple[Floats, Floats]
"""The parts of complex numbers."""
INVERSE_ROOT = (2.18910241, -2.19102859, 1.31474924, -0.31282368)
LOGARITHM = (1.00000096, -0.50001145, 0.33314674, -0.24908289, 0.2049176, -0.18680751, 0.11931054)


@dataclass(frozen=True)
class Variation:
    """A class."""

    power: int
    rule: int
    radius: np.float32

    def choose(self, a: Pair, b: Pair) -> list[Floats]:
        """The signed parts of complex numbers a and b (of theta and of phi) that the rule names for X, Y and Z."""
        parts = []
        for shift in (6, 3, 0):
            sine, theta, negative = (self.rule >> shift + k & 1 for k in (2, 1, 0))
            part = (a if theta else b)[sine]
            parts.append(-part if negative else part)
        return parts


@dataclass
class View:
    """A camera and three colours."""

    forward: list[np.float32]
    up: list[np.float32]
    side: list[np.float32]
    colours: list[list[np.float32]]


def turn(word: int) -> tuple[np.float32, np.float32]:
    """Cosine and sine of a uniform angle."""
    eighth = F(np.pi / 4)
    sine, cosine = sin_cos(fma(unit(word), eighth, F(F(-0.5) * eighth)))
    for _ in range(3):
        sine, cosine = F(F(sine + sine) * cosine), fma(cosine, cosine, -F(sine * sine))
    return cosine, sine


def draw_view(draws: Draws, slot: int, view: int) -> View:
    """Latitude and longitude of the camera, then the colours."""
    words = draws.words(Purpose.VIEW, 0, slot, view)
    (c, s), (cl, sl) = turn(words[0]), turn(words[1])
    colours = [[unit(w) for w in draws.words(Purpose.VIEW, 1 + k, slot, view)[:3]] for k in range(3)]
    return View([F(sl * c), -F(cl * c), -s], [F(sl * s), -F(cl * s), c], [-cl, -sl, F(0)], colours)


def root_guess(v: Floats) -> Floats:
    """1 / sqrt(v) to a thirtieth: halved bits."""
    return (0x5F3759DF - (v.view(np.int32) >> 1)).view(F)


def over_positive(v: Floats) -> Floats:
    """1 / v of positive floats to a fiftieth, of others anything."""
    y = (np.uint32(0x7EF311C7) - v.view(np.uint32)).view(F)
    return y * fma(-v, y, F(2))


def about(r2: Floats, dr: Floats) -> Floats:
    """r ln(r) / (2 dr) to a sixth: bits are nearly logarithms."""
    bits = r2.view(np.int32)
    over = ((bits >> 1) + (0x5F400000 - dr.view(np.int32))).view(F)
    return ((bits - 0x3F800000).astype(F) * F(np.log(2) / 4 / 2**23)) * over


def inverse_root(v: Floats) -> Floats:
    """1 / sqrt(v): a guess, times a polynomial in what is left; huge at 0."""
    y = root_guess(v)
    t = (v * y) * y
    series: Floats | np.float32 = F(INVERSE_ROOT[-1])
    for factor in INVERSE_ROOT[-2::-1]:
        series = fma(series, t, F(factor))
    return y * series


def chain(p: int) -> list[int]:
    """How n^p is made of n, from the first to the last: squares (2), cubes (3) and products with n (1)."""
    if p == 1:
        return []
    return [*chain(p // 2), 2] if p % 2 == 0 else [*chain(p // 3), 3] if p % 3 == 0 else [*chain(p - 1), 1]


def powers(p: int, a: Pair, b: Pair, r: Floats) -> tuple[Pair, Pair, Floats]:
    """Of complex numbers of modulus r, each as (twice its real part, its imaginary part): a^p, b^p and r^p."""
    (av, ai), (bv, bi), rr = a, b, r
    for kind in chain(p):
        if kind == 1:
            av, ai = times(av, ai, a)
            bv, bi = times(bv, bi, b)
            rr = rr * r
            continue
        m = rr * rr
        if kind == 2:  # real part 2 re^2 - r^2, imaginary part 2 re im
            av, ai = fma(av, av, -(m + m)), av * ai
            bv, bi = fma(bv, bv, -(m + m)), bv * bi
            rr = m
        else:  # re (4 re^2 - 3 r^2), im (4 re^2 - r^2)
            av, ai = av * fma(av, av, -(F(3) * m)), ai * fma(av, av, -m)
            bv, bi = bv * fma(bv, bv, -(F(3) * m)), bi * fma(bv, bv, -m)
            rr = rr * m
    return (av, ai), (bv, bi), rr


def times(v: Floats, im: Floats, n: Pair) -> Pair:
    """A complex number times n, all by twice the real and the imaginary part."""
    half = F(0.5)
    return fma(v, half * n[0], -(im * (n[1] + n[1]))), fma(im, half * n[0], v * (half * n[1]))


def logarithm(v: Floats) -> Floats:
    """ln v = e ln 2 + ln(1 + f) with v = (1 + f) 2^e and 1 + f in [sqrt(1/2), sqrt(2))."""
    bits = v.view(np.int32)
    e = (bits - 0x3F3504F3) >> 23
    f = (bits - (e << 23)).view(F) - F(1)
    series: Floats | np.float32 = F(LOGARITHM[-1])
    for factor in LOGARITHM[-2::-1]:
        series = fma(series, f, F(factor))
    return fma(e.astype(F), F(np.log(2)), f * series)


def norms(z: Floats) -> Pair:
    """x^2 + y^2 and r^2."""
    rho2 = fma(z[0], z[0], z[1] * z[1])
    return rho2, fma(z[2], z[2], rho2)


def step(v: Variation, z: Floats, c: Floats) -> tuple[Floats, Floats, Floats]:
    """The next points; r^p of these and about 1 / r."""
    rho2, r2 = norms(z)
    over_rho = inverse_root(rho2)
    rho, two_z = rho2 * over_rho, z[2] + z[2]
    if v.power % 2 == 0:  # on from the squares of a and b, which need no r
        half, cosine, sine = fma(z[2], z[2], -rho2), z[0] * over_rho, z[1] * over_rho
        two = cosine + cosine
        a2, b2 = (half + half, two_z * rho), (fma(two, two, F(-2)) * r2, (two * sine) * r2)
        a, b, rp = powers(v.power // 2, a2, b2, r2)
        over_r = root_guess(r2)
    else:
        over_r = inverse_root(r2)
        r = r2 * over_r
        scale = r * over_rho
        bx = z[0] * scale
        a, b, rp = powers(v.power, (two_z, rho), (bx + bx, z[1] * scale), r)
    parts = v.choose((a[0] * F(0.5), a[1]), (b[0] * F(0.5), b[1]))  # a half of a float is exact
    return np.array([part + start for part, start in zip(parts, c, strict=True)]), rp, over_r


@dataclass
class Orbits:
    """Where orbits of points ended."""

    r2: Floats
    dr: Floats
    """How far orbits around them spread, by the published formula."""
    spread: Floats
    """The same by the derivative of r^p."""
    traps: list[Floats]
    """Smallest |z|, taxicab norm and r^2 [n], the start left out."""

    @property
    def distance(self) -> Floats:
        """r log(r) / (2 dr) [n]."""
        root = inverse_root(self.dr)
        near: Floats = ((F(0.25) * logarithm(self.r2)) * (self.r2 * inverse_root(self.r2))) * (root * root)
        return near


def orbits(
    v: Variation, c: Floats, bail_out: np.float32 = BAIL_OUT, steep: np.float32 = STEEP, by_spread: bool = False
) -> Orbits:
    """The orbits of points [3, n], until they are out or spread so far."""
    n = c.shape[1]
    z, dr, spread = c.copy(), np.ones(n, F), np.ones(n, F)
    traps = [np.full(n, 1e20, F) for _ in range(3)]
    for _ in range(ITERATIONS):
        on = np.flatnonzero((norms(z)[1] <= bail_out) & ((spread if by_spread else dr) < steep))
        if not len(on):
            break
        new, rp, over_r = step(v, z[:, on], c[:, on])
        growth = F(v.power) * rp
        z[:, on] = new
        dr[on], spread[on] = fma(growth, dr[on], F(1)), fma(growth * over_r, spread[on], F(1))
        sizes = abs(new[2]), (abs(new[0]) + abs(new[1])) + abs(new[2]), norms(new)[1]
        for trap, size in zip(traps, sizes, strict=True):
            trap[on] = np.where(size < trap[on], size, trap[on])
    return Orbits(norms(z)[1], dr, spread, traps)
