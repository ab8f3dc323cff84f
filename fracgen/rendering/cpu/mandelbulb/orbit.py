"""The orbits of Mandelbulb variations, RAYS points at a time: distance and colour traps.

A step takes z to r^p (X, Y, Z) + c, where each of X, Y and Z is plus or minus the sine or cosine of
p theta or p phi. As p is whole, these are the real and imaginary parts of powers of two complex
numbers of modulus r,

    a = z + i rho (rho = |(x, y)|), whose argument is theta,
    b = (x + i y) r / rho, whose argument is phi (b = r where rho = 0),

so a step needs products, two square roots and a quotient, and no trigonometry. Twin:
`kernels/mandelbulb/orbit.cuh`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fracgen.rendering.cpu.mandelbulb import lanes as v
from fracgen.rendering.cpu.mandelbulb.lanes import F32, I32, Code, Lanes, fma, sqrt
from fracgen.rendering.variations import BAIL_OUT, ITERATIONS, OVERSTEP, STEEP, STEEP_SHADED

(X, Y, Z, DX, DY, DZ, AT, BEFORE, STEP, END, STEPS) = range(11)
MARCH_ROWS = 11
"""Rows of a march: a ray's origin and direction, the place along it, the distance found at the place
before, the step taken from there, the place where the ray leaves the bounding sphere, steps so far."""

(P_X, P_Y, P_Z, DISTANCE, TRAP_Z, TRAP_TAXI, TRAP_R) = range(7)
POINT_ROWS = 7
"""Rows of points: their coordinates in; the estimated distance, or orbit traps (smallest |z|, taxicab norm and
squared norm) out."""


class Powers(NamedTuple):
    """a^p, b^p and r^p."""

    ar: Lanes
    ai: Lanes
    br: Lanes
    bi: Lanes
    r: Lanes


class Shape:
    """A class's formula in IR: its power and rule are the same for all lanes."""

    def __init__(self, code: Code, power: Any, rule: Any) -> None:
        self.code, self.power, builder = code, power, code.builder
        self.p = code.splat(builder.sitofp(power, F32))
        zeros = builder.ctlz(power, ir.Constant(ir.IntType(1), 1))
        self.top = builder.sub(I32(31), zeros)
        self.part, self.sign = [], []
        one, minus = ir.Constant(F32, 1.0), ir.Constant(F32, -1.0)
        for axis in range(3):
            bits = builder.lshr(rule, I32(6 - 3 * axis))
            function = builder.and_(builder.lshr(bits, I32(2)), I32(1))
            angle = builder.and_(bits, I32(2))
            self.part.append(builder.or_(angle, function))
            negative = builder.trunc(bits, ir.IntType(1))
            self.sign.append(code.splat(builder.select(negative, minus, one)))
        self.parts = cgutils.alloca_once(builder, ir.ArrayType(ir.VectorType(F32, v.RAYS), 4))
        self.bit = cgutils.alloca_once(builder, I32)

    def raise_(self, ar: Lanes, ai: Lanes, br: Lanes, bi: Lanes, r: Lanes) -> Powers:
        """Powers by squaring, from the second highest bit of p down."""
        code, builder = self.code, self.code.builder
        base = Powers(ar, ai, br, bi, r)
        kept = [code.variable(value) for value in base]
        builder.store(self.top, self.bit)
        with code.forever() as done:
            left = builder.load(self.bit)
            code.leave_unless(builder.icmp_signed(">", left, I32(0)), done)
            left = builder.sub(left, I32(1))
            builder.store(left, self.bit)
            ar, ai, br, bi, r = (value.get() for value in kept)
            for value, new in zip(kept, _square(ar, ai, br, bi, r), strict=True):
                value.set(new)
            odd = builder.trunc(builder.lshr(self.power, left), ir.IntType(1))
            with builder.if_then(odd):
                now = Powers(*(value.get() for value in kept))
                for value, new in zip(kept, _times(now, base), strict=True):
                    value.set(new)
        return Powers(*(value.get() for value in kept))

    def pick(self, br: Lanes, bi: Lanes, ar: Lanes, ai: Lanes) -> list[Lanes]:
        """The rule's choice for each axis, its sign left out."""
        builder = self.code.builder
        for k, value in enumerate((br, bi, ar, ai)):
            builder.store(value.value, builder.gep(self.parts, [I32(0), I32(k)]))
        return [Lanes(builder, builder.load(builder.gep(self.parts, [I32(0), part]))) for part in self.part]


def _square(ar: Lanes, ai: Lanes, br: Lanes, bi: Lanes, r: Lanes) -> tuple[Lanes, ...]:
    return fma(ar, ar, -(ai * ai)), (ar + ar) * ai, fma(br, br, -(bi * bi)), (br + br) * bi, r * r


def _times(n: Powers, m: Powers) -> tuple[Lanes, ...]:
    return (
        fma(n.ar, m.ar, -(n.ai * m.ai)), fma(n.ar, m.ai, n.ai * m.ar),
        fma(n.br, m.br, -(n.bi * m.bi)), fma(n.br, m.bi, n.bi * m.br), n.r * m.r,
    )  # fmt: skip


class Point(NamedTuple):
    """A point of an orbit, with x^2 + y^2 and r^2."""

    x: Lanes
    y: Lanes
    z: Lanes
    rho2: Lanes
    r2: Lanes

    @classmethod
    def at(cls, x: Lanes, y: Lanes, z: Lanes) -> Point:
        rho2 = fma(x, x, y * y)
        return cls(x, y, z, rho2, fma(z, z, rho2))


def _advance(shape: Shape, z: Point, c: list[Lanes]) -> tuple[Point, Powers]:
    """The next point, and the powers it was made of."""
    rho, r = sqrt(z.rho2), sqrt(z.r2)
    scale, off = r / rho, rho > 0.0
    q = shape.raise_(z.z, rho, off.where(z.x * scale, r), off.where(z.y * scale, 0.0), r)
    parts = shape.pick(q.br, q.bi, q.ar, q.ai)
    new = (fma(part, sign, start) for part, sign, start in zip(parts, shape.sign, c, strict=True))
    return Point.at(*new), q


def _keep(going: Lanes, variables: list[Any], values: Any) -> None:
    """Replace variables in the lanes that are still going."""
    for variable, value in zip(variables, values, strict=True):
        variable.set(going.where(value, variable.get()))


def distance(code: Code, shape: Shape, c: list[Lanes]) -> Lanes:
    """Estimated distance from points to the set: r log(r) / (2 dr), negative inside."""
    point = [code.variable(value) for value in Point.at(*c)]
    dr, steps = code.variable(code.constant(1.0)), code.variable(code.constant(0.0))
    with code.forever() as done:
        z = Point(*(value.get() for value in point))
        going = (z.r2 <= BAIL_OUT) & (dr.get() < STEEP) & (steps.get() < float(ITERATIONS))
        code.leave_unless(going.any(), done)
        new, q = _advance(shape, z, c)
        _keep(going, point, new)
        _keep(going, [dr], [fma(shape.p * q.r, dr.get(), 1.0)])
        steps.set(steps.get() + 1.0)  # the same count in all lanes that still go
    r2 = point[4].get()
    return (0.25 * v.logarithm(r2) * sqrt(r2)) / dr.get()


@intrinsic
def march(typingctx: Any, rays: Any, power: Any, rule: Any, threshold: Any, limit: Any) -> Any:
    """One step of RAYS rays.

    Args:
        rays: float32 [MARCH_ROWS, RAYS], changed in place.
        power, rule: int32 of the class.
        threshold: float32; a ray has hit where the distance is at most this.
        limit: float32; most steps of a ray.

    Returns:
        Three int64 of one bit a lane: rays that hit, rays that left the bounding sphere, and rays that have
        taken `limit` steps.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Code(context, builder)
        row = code.rows(signature.args[0], args[0])
        shape = Shape(code, args[1], args[2])
        at, before, step = (code.load(row(k)) for k in (AT, BEFORE, STEP))
        place = [fma(code.load(row(DX + k)), at, code.load(row(X + k))) for k in range(3)]
        found = distance(code, shape, place)
        apart = (before + found < step) & (step > 0.0)
        hit = ~apart & ~(found > code.splat(args[3]))
        length = OVERSTEP * found
        forward = at + length
        out = ~apart & ~hit & (forward > code.load(row(END)))
        code.store(apart.where((at - step) + before, hit.where(at, forward)), row(AT))
        code.store(apart.where(0.0, found), row(BEFORE))
        code.store(apart.where(0.0, length), row(STEP))
        steps = code.load(row(STEPS)) + 1.0
        code.store(steps, row(STEPS))
        spent = steps >= code.splat(args[4])
        masks = [builder.zext(mask.bits(), ir.IntType(64)) for mask in (hit, out, spent)]
        return context.make_tuple(builder, signature.return_type, masks)

    return types.UniTuple(types.int64, 3)(rays, types.int32, types.int32, types.float32, types.float32), codegen


@intrinsic
def estimate(typingctx: Any, points: Any, power: Any, rule: Any) -> Any:
    """Estimated distances of RAYS points.

    Args: points float32 [POINT_ROWS, RAYS], DISTANCE of which is written; power, rule int32 of the class.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Code(context, builder)
        row = code.rows(signature.args[0], args[0])
        shape = Shape(code, args[1], args[2])
        code.store(distance(code, shape, [code.load(row(P_X + k)) for k in range(3)]), row(DISTANCE))
        return context.get_dummy_value()

    return types.void(points, types.int32, types.int32), codegen


@intrinsic
def trap(typingctx: Any, points: Any, power: Any, rule: Any) -> Any:
    """Orbit traps of RAYS points.

    Args: points float32 [POINT_ROWS, RAYS], the traps of which are written; power, rule int32 of the class.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Code(context, builder)
        row = code.rows(signature.args[0], args[0])
        shape = Shape(code, args[1], args[2])
        for k, value in enumerate(_traps(code, shape, [code.load(row(P_X + k)) for k in range(3)])):
            code.store(value, row(TRAP_Z + k))
        return context.get_dummy_value()

    return types.void(points, types.int32, types.int32), codegen


def _traps(code: Code, shape: Shape, c: list[Lanes]) -> list[Lanes]:
    """Smallest |z|, taxicab norm and squared norm of points' orbits, their start left out."""
    point = [code.variable(value) for value in Point.at(*c)]
    dr, steps = code.variable(code.constant(1.0)), code.variable(code.constant(0.0))
    traps = [code.variable(code.constant(1e20)) for _ in range(3)]
    with code.forever() as done:
        z = Point(*(value.get() for value in point))
        going = (z.r2 <= BAIL_OUT) & (dr.get() < STEEP_SHADED) & (steps.get() < float(ITERATIONS))
        code.leave_unless(going.any(), done)
        new, q = _advance(shape, z, c)
        taxi = (v.absolute(new.x) + v.absolute(new.y)) + v.absolute(new.z)
        sizes = (v.absolute(new.z), taxi, new.r2)
        _keep(going, traps, [v.smaller(size, kept.get()) for size, kept in zip(sizes, traps, strict=True)])
        _keep(going, [dr, *point], [fma(shape.p * q.r, dr.get(), 1.0), *new])
        steps.set(steps.get() + 1.0)
    return [value.get() for value in traps]
