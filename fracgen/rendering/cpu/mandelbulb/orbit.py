"""The orbits of Mandelbulb variations, RAYS points at a time: distance and colour traps.

A step takes z to r^p (X, Y, Z) + c, where each of X, Y and Z is plus or minus the sine or cosine of
p theta or p phi. As p is whole, these are the real and imaginary parts of powers of two complex
numbers of modulus r,

    a = z + i rho (rho = |(x, y)|), whose argument is theta,
    b = (x + i y) r / rho, whose argument is phi,

so a step needs products and two inverse roots, and no trigonometry. A complex number is kept as
twice its real part and its imaginary part, v and s: its square is (v^2 - 2 r^2, v s), its cube
(v (v^2 - 3 r^2), s (v^2 - r^2)). Twin: `kernels/mandelbulb/orbit.cuh`.

Orbits end after different numbers of steps, so a lane whose orbit has ended waits until half of the
lanes have: then all of these go on to their next point together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fracgen.rendering.cpu.mandelbulb import lanes as v
from fracgen.rendering.cpu.mandelbulb.lanes import F32, I32, Code, Lanes, fma, inverse_root
from fracgen.rendering.variations import BAIL_OUT, CHAINS, ITERATIONS, OVERSTEP, STEEP

(X, Y, Z, DX, DY, DZ, AT, END, BEFORE, STEP, STEPS, POINT) = range(12)
STATE = 9
MARCH_ROWS = POINT + STATE
"""Rows of a march: a ray's origin and direction, the place along it, the place where it leaves the bounding sphere, the
distance found at the place before, the step taken from there, steps so far, and an orbit: the point it began at, where
it is, its squared radius, how far orbits around it have spread (dr), and its steps."""

(P_X, P_Y, P_Z, DISTANCE, TRAP_Z, TRAP_TAXI, TRAP_R) = range(7)
POINT_ROWS = 7
"""Rows of points: their coordinates in; the estimated distance and orbit traps (smallest |z|, taxicab norm and squared
norm) out."""

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

    def __init__(self, code: Code, power: Any, rule: Any) -> None:
        self.code, builder = code, code.builder
        self.p = code.splat(builder.sitofp(power, F32))
        chains = ir.Constant(ir.ArrayType(I32, len(CHAINS)), list(CHAINS))
        table = cgutils.alloca_once_value(builder, chains)
        self.chain = builder.load(builder.gep(table, [I32(0), power]))
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
    """The point an orbit began at, the point it has come to, that point's r^2, dr, and steps so far."""

    cx: Lanes
    cy: Lanes
    cz: Lanes
    x: Lanes
    y: Lanes
    z: Lanes
    r2: Lanes
    dr: Lanes
    steps: Lanes

    @classmethod
    def begin(cls, x: Lanes, y: Lanes, z: Lanes) -> Orbit:
        return cls(x, y, z, x, y, z, _squared(x, y, z), x.constant(1.0), x.constant(0.0))

    @property
    def going(self) -> Lanes:
        """Where it has not ended."""
        return (self.r2 <= BAIL_OUT) & (self.dr < STEEP) & (self.steps < float(ITERATIONS))

    def advance(self, shape: Shape) -> Orbit:
        """One step."""
        rho2 = fma(self.x, self.x, self.y * self.y)
        over_rho = inverse_root(rho2)
        rho, r = rho2 * over_rho, self.r2 * inverse_root(self.r2)
        scale = r * over_rho
        bx = self.x * scale
        q = shape.raise_(Powers(self.z + self.z, rho, bx + bx, self.y * scale, r))
        parts = zip(shape.pick(q), shape.sign, (self.cx, self.cy, self.cz), strict=True)
        x, y, z = (fma(part, sign, start) for part, sign, start in parts)
        dr = fma(shape.p * q.r, self.dr, 1.0)
        return self._replace(x=x, y=y, z=z, r2=_squared(x, y, z), dr=dr, steps=self.steps + 1.0)

    def distance(self) -> Lanes:
        """Estimated distance from where it began to the set: r log(r) / (2 dr), negative inside."""
        root = inverse_root(self.dr)
        return ((0.25 * v.logarithm(self.r2)) * (self.r2 * inverse_root(self.r2))) * (root * root)


def _squared(x: Lanes, y: Lanes, z: Lanes) -> Lanes:
    return fma(z, z, fma(x, x, y * y))


def _keep(where: Lanes, variables: Any, values: Any) -> None:
    """Replace variables in some lanes."""
    for variable, value in zip(variables, values, strict=True):
        variable.set(where.where(value, variable.get()))


def _iterate(code: Code, shape: Shape, start: Orbit, most: Any, traps: Any = ()) -> Orbit:
    """Advance orbits until at most so many (a scalar) still go; `traps` are variables of sizes to take the least of."""
    kept = [code.variable(value) for value in start]
    with code.forever() as done:
        now = Orbit(*(value.get() for value in kept))
        going = now.going
        code.leave_unless(code.builder.icmp_signed(">", going.count(), most), done)
        new = now.advance(shape)
        _keep(going, kept[3:], new[3:])
        if traps:
            sizes = (v.absolute(new.z), (v.absolute(new.x) + v.absolute(new.y)) + v.absolute(new.z), new.r2)
            _keep(going, traps, [v.smaller(size, trap.get()) for size, trap in zip(sizes, traps, strict=True)])
    return Orbit(*(value.get() for value in kept))


@intrinsic
def march(
    typingctx: Any, rays: Any, power: Any, rule: Any, threshold: Any, spread: Any, stride: Any, limit: Any, most: Any
) -> Any:
    """Advance the orbits of RAYS rays until at most `most` still go, and take a step of the rays of the others.

    Args:
        rays: float32 [MARCH_ROWS, RAYS], changed in place.
        power, rule: int32 of the class.
        threshold: float32; a ray has hit where the distance, less the cone's radius, is at most this.
        spread: float32; radius of a cone around the ray, a unit of its length.
        stride: float32; least step of a ray.
        limit: float32; most steps of a ray.
        most: int32.

    Returns:
        Three int64 of one bit a lane: rays that hit, rays that left the bounding sphere, and rays that have
        taken `limit` steps.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Code(context, builder)
        row = code.rows(signature.args[0], args[0])
        shape = Shape(code, args[1], args[2])
        orbit = _iterate(code, shape, Orbit(*(code.load(row(POINT + k)) for k in range(STATE))), args[7])
        ended = ~orbit.going
        at, before, step = (code.load(row(k)) for k in (AT, BEFORE, STEP))
        least = code.splat(args[5])
        found = fma(-code.splat(args[4]), at, orbit.distance())
        apart = (before + found < step) & (step > least)
        hit = ended & ~apart & ~(found > code.splat(args[3]))
        length = v.larger(OVERSTEP * found, least)
        forward = at + length
        out = ended & ~apart & ~hit & (forward > code.load(row(END)))
        place = apart.where((at - step) + before, hit.where(at, forward))
        steps = code.load(row(STEPS)) + 1.0
        spent = ended & (steps >= code.splat(args[6]))
        new = Orbit.begin(*(fma(code.load(row(DX + k)), place, code.load(row(X + k))) for k in range(3)))
        rows = {AT: place, BEFORE: apart.where(0.0, found), STEP: apart.where(0.0, length), STEPS: steps}
        for k, value in rows.items():
            code.store(ended.where(value, code.load(row(k))), row(k))
        for k, (value, old) in enumerate(zip(new, orbit, strict=True)):
            code.store(ended.where(value, old), row(POINT + k))
        masks = [builder.zext(mask.bits(), ir.IntType(64)) for mask in (hit, out, spent)]
        return context.make_tuple(builder, signature.return_type, masks)

    real, whole = types.float32, types.int32
    return types.UniTuple(types.int64, 3)(rays, whole, whole, real, real, real, real, whole), codegen


@intrinsic
def estimate(typingctx: Any, points: Any, power: Any, rule: Any) -> Any:
    """Estimated distances of RAYS points.

    Args: points float32 [POINT_ROWS, RAYS], DISTANCE of which is written; power, rule int32 of the class.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Code(context, builder)
        row = code.rows(signature.args[0], args[0])
        start = Orbit.begin(*(code.load(row(P_X + k)) for k in range(3)))
        orbit = _iterate(code, Shape(code, args[1], args[2]), start, I32(0))
        code.store(orbit.distance(), row(DISTANCE))
        return context.get_dummy_value()

    return types.void(points, types.int32, types.int32), codegen


@intrinsic
def trap(typingctx: Any, points: Any, power: Any, rule: Any) -> Any:
    """Estimated distances and orbit traps of RAYS points; a point is no part of its traps.

    Args: points float32 [POINT_ROWS, RAYS], written; power, rule int32 of the class.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Code(context, builder)
        row = code.rows(signature.args[0], args[0])
        start = Orbit.begin(*(code.load(row(P_X + k)) for k in range(3)))
        traps = [code.variable(code.constant(1e20)) for _ in range(3)]
        orbit = _iterate(code, Shape(code, args[1], args[2]), start, I32(0), traps)
        code.store(orbit.distance(), row(DISTANCE))
        for k, value in enumerate(traps):
            code.store(value.get(), row(TRAP_Z + k))
        return context.get_dummy_value()

    return types.void(points, types.int32, types.int32), codegen
