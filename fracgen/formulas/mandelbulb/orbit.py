"""The orbits of Mandelbulb variations, RAYS points at a time: distance and colour traps.

A step takes z to r^p (X, Y, Z) + c, where each of X, Y and Z is plus or minus the sine or cosine of
p theta or p phi. As p is whole, these are the real and imaginary parts of powers of two complex
numbers of modulus r,

    a = z + i rho (rho = |(x, y)|), whose argument is theta,
    b = (x + i y) r / rho, whose argument is phi,

so a step needs products and two inverse roots, and no trigonometry. A complex number is kept as
twice its real part and its imaginary part, v and s: its square is (v^2 - 2 r^2, v s), its cube
(v (v^2 - 3 r^2), s (v^2 - r^2)). The squares of a and b need no r, so an even power begins with
them. Twin: `kernels/mandelbulb/orbit.cuh`.

Orbits end after different numbers of steps, so a lane whose orbit has ended waits until half of the
lanes have: then all of these go on to their next point together.
"""

# mypy: ignore-errors
from __future__ import annotations

from typing import NamedTuple

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fracgen.formulas.mandelbulb import lanes as v
from fracgen.formulas.mandelbulb.constants import (
    BAIL_OUT,
    CHAINS,
    DEEP,
    FRAIL,
    FRAIL_THRESHOLD,
    ITERATIONS,
    LANDING,
    STEEP,
    SURFACE,
    SURFACE_BACK,
    SURFACE_SLOPE,
    UNKNOWN_THRESHOLD,
)  # fmt: skip
from fracgen.formulas.mandelbulb.lanes import F32, I32, Code, Lanes, fma, inverse_root

(X, Y, Z, DX, DY, DZ, AT, END, BEFORE, STEP, STRETCHED, STEPS, COLOURED, POINT) = range(14)
STATE = 11
TRAPS = POINT + STATE
MARCH_ROWS = TRAPS + 3
"""Rows of a march: a ray's origin and direction, the place along it, the place where it leaves the bounding sphere, the
distance found at the place before, the step taken from there (0: not to be learnt from), whether that was longer than
the distance (1 or 0), steps so far, whether the orbit is that of a place that was hit (1 or 0); an orbit, see `Orbit`;
and its traps: smallest |z|, taxicab norm and squared norm, the start left out."""
R2, DR, SPREAD = POINT + 7, POINT + 8, POINT + 9

(P_X, P_Y, P_Z, P_R2, P_DR, DISTANCE) = range(6)
POINT_ROWS = 6
"""Rows of points: their coordinates, or the ends of their orbits, in; the estimated distance out."""

SQUARE, CUBE, TIMES = 2, 3, 1


class Powers(NamedTuple):
    """Of complex numbers a and b, twice the real part and the imaginary part; and their modulus."""

    av: Lanes
    ai: Lanes
    bv: Lanes
    bi: Lanes
    r: Lanes


class Shape:
    """A class's formula in IR: its power and rule are the same for all lanes."""

    def __init__(self, code: Code, power, rule):
        self.code, builder = code, code.builder
        self.p = code.splat(builder.sitofp(power, F32))
        chains = ir.Constant(ir.ArrayType(I32, len(CHAINS)), list(CHAINS))
        table = cgutils.alloca_once_value(builder, chains)
        self.chain = builder.load(builder.gep(table, [I32(0), power]))
        self.even = builder.not_(builder.trunc(power, ir.IntType(1)))
        self.frail = code.splat_bit(builder.icmp_signed("<=", power, I32(FRAIL)))
        self.part, self.sign = [], []
        for axis in range(3):
            bits = builder.lshr(rule, I32(6 - 3 * axis))
            sine = builder.and_(builder.lshr(bits, I32(2)), I32(1))
            self.part.append(builder.or_(builder.and_(bits, I32(2)), sine))
            whole = builder.select(builder.trunc(sine, ir.IntType(1)), F32(1.0), F32(0.5))
            negative = builder.trunc(bits, ir.IntType(1))
            self.sign.append(code.splat(builder.select(negative, builder.fneg(whole), whole)))
        self.parts = cgutils.alloca_once(builder, ir.ArrayType(ir.VectorType(F32, v.RAYS), 4))
        self.left = cgutils.alloca_once(builder, I32)

    def base(self, o: Orbit) -> tuple[Powers, Lanes]:
        """The numbers a and b of points, or their squares where the power is even; and about 1 / r."""
        builder = self.code.builder
        over_rho = inverse_root(o.rho2)
        rho, twice = o.rho2 * over_rho, o.z + o.z
        kept = [self.code.variable(o.r2) for _ in range(6)]
        with builder.if_else(self.even) as (even, odd):
            with even:
                half, cosine, sine = fma(o.z, o.z, -o.rho2), o.x * over_rho, o.y * over_rho
                double = cosine + cosine
                squares = half + half, twice * rho, fma(double, double, -2.0) * o.r2, double * sine * o.r2, o.r2
                for value, new in zip(kept, (*squares, v.root_guess(o.r2)), strict=True):
                    value.set(new)
            with odd:
                over_r = inverse_root(o.r2)
                r = o.r2 * over_r
                scale = r * over_rho
                bx = o.x * scale
                for value, new in zip(kept, (twice, rho, bx + bx, o.y * scale, r, over_r), strict=True):
                    value.set(new)
        return Powers(*(value.get() for value in kept[:5])), kept[5].get()

    def raise_(self, base: Powers) -> Powers:
        """The power, by the chain of `CHAINS`."""
        code, builder = self.code, self.code.builder
        kept = [code.variable(value) for value in base]
        builder.store(self.chain, self.left)
        with code.forever() as done:
            left = builder.load(self.left)
            code.leave_unless(builder.icmp_signed("!=", left, I32(0)), done)
            kind = builder.and_(left, I32(3))
            builder.store(builder.lshr(left, I32(2)), self.left)
            for which, make in ((SQUARE, _square), (CUBE, _cube), (TIMES, _times)):
                with builder.if_then(builder.icmp_signed("==", kind, I32(which))):
                    now = Powers(*(value.get() for value in kept))
                    for value, new in zip(kept, make(now, base), strict=True):
                        value.set(new)
        return Powers(*(value.get() for value in kept))

    def pick(self, q: Powers) -> list[Lanes]:
        """The rule's choice for each axis; its sign, and the half of what is twice a real part, are left out."""
        builder = self.code.builder
        for k, value in enumerate((q.bv, q.bi, q.av, q.ai)):
            builder.store(value.value, builder.gep(self.parts, [I32(0), I32(k)]))
        return [Lanes(builder, builder.load(builder.gep(self.parts, [I32(0), part]))) for part in self.part]


def _square(n: Powers, base: Powers) -> tuple[Lanes, ...]:
    m = n.r * n.r
    twice = m + m
    return fma(n.av, n.av, -twice), n.av * n.ai, fma(n.bv, n.bv, -twice), n.bv * n.bi, m


def _cube(n: Powers, base: Powers) -> tuple[Lanes, ...]:
    m = n.r * n.r
    thrice = 3.0 * m
    return (
        n.av * fma(n.av, n.av, -thrice), n.ai * fma(n.av, n.av, -m), n.bv * fma(n.bv, n.bv, -thrice),
        n.bi * fma(n.bv, n.bv, -m), n.r * m,
    )  # fmt: skip


def _times(n: Powers, base: Powers) -> tuple[Lanes, ...]:
    return (*_product(n.av, n.ai, base.av, base.ai), *_product(n.bv, n.bi, base.bv, base.bi), n.r * base.r)


def _product(v1: Lanes, s1: Lanes, v2: Lanes, s2: Lanes) -> tuple[Lanes, Lanes]:
    return fma(v1, 0.5 * v2, -(s1 * (s2 + s2))), fma(s1, 0.5 * v2, v1 * (0.5 * s2))


class Orbit(NamedTuple):
    """The point an orbit began at, the point it has come to, that point's x^2 + y^2 and r^2, how far orbits around it
    have spread, as the published formula has it (dr) and by the derivative of r^p (spread), and steps so far."""

    cx: Lanes
    cy: Lanes
    cz: Lanes
    x: Lanes
    y: Lanes
    z: Lanes
    rho2: Lanes
    r2: Lanes
    dr: Lanes
    spread: Lanes
    steps: Lanes

    @classmethod
    def begin(cls, x: Lanes, y: Lanes, z: Lanes) -> Orbit:
        return cls(x, y, z, x, y, z, *_norms(x, y, z), x.constant(1.0), x.constant(1.0), x.constant(0.0))

    def going(self, ends: Ends) -> Lanes:
        """Where it has not ended."""
        far = self.spread if ends.by_spread else self.dr
        return (self.r2 <= ends.r2) & (far < ends.far) & (self.steps < float(ITERATIONS))

    def advance(self, shape: Shape) -> Orbit:
        """One step."""
        base, over_r = shape.base(self)
        q = shape.raise_(base)
        growth = shape.p * q.r
        parts = zip(shape.pick(q), shape.sign, (self.cx, self.cy, self.cz), strict=True)
        x, y, z = (fma(part, sign, start) for part, sign, start in parts)
        rho2, r2 = _norms(x, y, z)
        dr, spread = fma(growth, self.dr, 1.0), fma(growth * over_r, self.spread, 1.0)
        return self._replace(x=x, y=y, z=z, rho2=rho2, r2=r2, dr=dr, spread=spread, steps=self.steps + 1.0)


class Ends(NamedTuple):
    """Where orbits end: beyond this r^2, or spread so far."""

    r2: Lanes
    far: Lanes
    by_spread: bool


def _distance(r2: Lanes, dr: Lanes) -> Lanes:
    """Estimated distance from where an orbit began to the set: r log(r) / (2 dr), negative inside."""
    root = inverse_root(dr)
    return ((0.25 * v.logarithm(r2)) * (r2 * inverse_root(r2))) * (root * root)


def _norms(x: Lanes, y: Lanes, z: Lanes) -> tuple[Lanes, Lanes]:
    rho2 = fma(x, x, y * y)
    return rho2, fma(z, z, rho2)


def _keep(where: Lanes, variables, values):
    """Replace variables in some lanes."""
    for variable, value in zip(variables, values, strict=True):
        variable.set(where.where(value, variable.get()))


def _iterate(code: Code, shape: Shape, start: Orbit, ends: Ends, most, traps = ()) -> Orbit:
    """Advance orbits until at most so many (a scalar) still go; `traps` are variables of sizes to take the least of."""
    kept = [code.variable(value) for value in start]
    with code.forever() as done:
        now = Orbit(*(value.get() for value in kept))
        going = now.going(ends)
        code.leave_unless(code.builder.icmp_signed(">", going.count(), most), done)
        new = now.advance(shape)
        _keep(going, kept[3:], new[3:])
        if traps:
            sizes = (v.absolute(new.z), (v.absolute(new.x) + v.absolute(new.y)) + v.absolute(new.z), new.r2)
            _keep(going, traps, [v.smaller(size, trap.get()) for size, trap in zip(sizes, traps, strict=True)])
    return Orbit(*(value.get() for value in kept))


def _length(
    way: Way, found: Lanes, at: Lanes, step: Lanes, falls: Lanes, along: Lanes
) -> tuple[Lanes, Lanes]:
    """The next step after one that brought a ray to a distance, and whether that is longer than this: on to where it
    should be half the threshold, if the last step went `along` for each unit that the distance fell; at least the
    distance itself and at most `reach` times that."""
    least, most = fma(way.growth, at, way.stride), way.reach * found
    landing = LANDING * fma(-0.5, way.threshold, found) * along
    wanted = (falls & (landing < most)).where(landing, most)
    length = v.larger(found, least)
    stretched = (step > 0.0) & (wanted > length)
    return stretched.where(wanted, length), stretched


def _surface(at: Lanes, found: Lanes, known: Lanes, along: Lanes) -> Lanes:
    """Where the distance should be SURFACE, on from a hit, where it is known how fast the distance falls."""
    further = (found - SURFACE) * known.where((along < SURFACE_SLOPE).where(along, SURFACE_SLOPE), 1.0)
    return at + v.larger(further, SURFACE_BACK)


class Way(NamedTuple):
    """How rays march: float32 numbers, or `Lanes` of them while IR is written."""

    threshold: object
    """A ray has hit where the distance, less the cone's radius, is at most this."""
    spread: object
    """Radius of a cone around the ray, a unit of its length."""
    stride: object
    growth: object
    """The least step of a ray is stride + growth times the place along it."""
    reach: object
    """Its longest step in distances."""
    limit: object
    """Most steps of a ray."""
    escape: object
    steep: object
    """Orbits end beyond this r^2, or spread so far."""
    spent_hits: bool
    """Whether a ray that took `limit` steps has hit where it is."""


def _store_orbits(code: Code, row, again: Lanes, place: Lanes, orbit: Orbit, traps):
    """Store orbits and their traps, or begin those of rays that go on at their new places."""
    new = Orbit.begin(*(fma(code.load(row(DX + k)), place, code.load(row(X + k))) for k in range(3)))
    for k, (value, old) in enumerate(zip(new, orbit, strict=True)):
        code.store(again.where(value, old), row(POINT + k))
    for k, trap in enumerate(traps):
        code.store(again.where(1e20, trap.get()), row(TRAPS + k))


def _march(context, builder, signature, args, sampling: bool):
    """What `march` and `march_sampling` have in common."""
    code = Code(context, builder)
    row = code.rows(signature.args[0], args[0])
    shape = Shape(code, args[1], args[2])
    way = Way(*(code.splat(builder.extract_value(args[3], k)) for k in range(8)), spent_hits=False)
    coloured = code.load(row(COLOURED)) > 0.0
    ends = Ends(coloured.where(BAIL_OUT, way.escape) if sampling else way.escape, way.steep, True)
    traps = [code.variable(code.load(row(TRAPS + k))) for k in range(3)] if sampling else []
    start = Orbit(*(code.load(row(POINT + k)) for k in range(STATE)))
    orbit = _iterate(code, shape, start, ends, args[4], traps)
    ended = ~orbit.going(ends)
    at, before, step = (code.load(row(k)) for k in (AT, BEFORE, STEP))
    found = fma(-way.spread, at, v.about(orbit.r2, orbit.spread))
    drop = before - found
    falls, along = drop > 0.0, step * v.over(drop)
    back = (code.load(row(STRETCHED)) > 0.0) & (found < DEEP * way.threshold)
    far, onto = found > way.threshold, at
    if sampling:
        known = (step > 0.0) & falls
        far = found > known.where(way.threshold, UNKNOWN_THRESHOLD)
        far = (shape.frail & (v.about(orbit.r2, orbit.dr) > FRAIL_THRESHOLD)) | (~shape.frail & far)
        onto = (shape.frail | coloured).where(at, _surface(at, found, known, along))
        back = back & ~coloured
        far = far & ~coloured
    hit = ended & ~back & ~far
    length, stretched = _length(way, found, at, step, falls, along)
    forward = at + length
    out = ended & ~back & ~hit & (forward > code.load(row(END)))
    place = back.where((at - step) + before, hit.where(onto, forward))
    steps = code.load(row(STEPS)) + 1.0
    spent = ended & (steps >= way.limit)
    rows = {
        AT: place, BEFORE: back.where(before, found), STEP: back.where(0.0, length),
        STRETCHED: (stretched & ~back).where(1.0, 0.0), STEPS: steps,
    }  # fmt: skip
    for k, value in rows.items():
        code.store(ended.where(value, code.load(row(k))), row(k))
    _store_orbits(code, row, ended & ~hit & ~spent, place, orbit, traps)
    masks = [builder.zext(mask.bits(), ir.IntType(64)) for mask in (hit, out, spent)]
    return context.make_tuple(builder, signature.return_type, masks)


def _march_type(rays, way):
    return types.UniTuple(types.int64, 3)(rays, types.int32, types.int32, way, types.int32)


@intrinsic
def march(typingctx, rays, power, rule, way, most):
    """Advance the orbits of RAYS rays until at most `most` still go, and take a step of the rays of the others.

    Args:
        rays: float32 [MARCH_ROWS, RAYS], changed in place; of a ray that hit or is spent, the orbit stays.
        power, rule: int32 of the class.
        way: `Way`.
        most: int32.

    Returns:
        Three int64 of one bit a lane: rays that hit, rays that left the bounding sphere, and rays that have
        taken `limit` steps.
    """
    return _march_type(rays, way), lambda *code: _march(*code, sampling=False)


@intrinsic
def march_sampling(typingctx, rays, power, rule, way, most):
    """`march` to the surface, which keeps the traps of orbits: of frail powers to where the published distance says,
    else on from a hit to where the distance should be SURFACE. A lane that is COLOURED has an orbit there, until
    BAIL_OUT, and has hit when that has ended."""
    return _march_type(rays, way), lambda *code: _march(*code, sampling=True)


@intrinsic
def estimate(typingctx, points, power, rule):
    """Estimated distances of RAYS points.

    Args: points float32 [POINT_ROWS, RAYS], DISTANCE of which is written; power, rule int32 of the class.
    """

    def codegen(context, builder, signature, args):
        code = Code(context, builder)
        row = code.rows(signature.args[0], args[0])
        start = Orbit.begin(*(code.load(row(P_X + k)) for k in range(3)))
        ends = Ends(code.constant(BAIL_OUT), code.constant(STEEP), False)
        orbit = _iterate(code, Shape(code, args[1], args[2]), start, ends, I32(0))
        code.store(_distance(orbit.r2, orbit.dr), row(DISTANCE))
        return context.get_dummy_value()

    return types.void(points, types.int32, types.int32), codegen


@intrinsic
def told(typingctx, points):
    """The distances that RAYS orbits told which ended at P_R2 and P_DR, to DISTANCE of points [POINT_ROWS, RAYS]."""

    def codegen(context, builder, signature, args):
        code = Code(context, builder)
        row = code.rows(signature.args[0], args[0])
        code.store(_distance(code.load(row(P_R2)), code.load(row(P_DR))), row(DISTANCE))
        return context.get_dummy_value()

    return types.void(points), codegen
