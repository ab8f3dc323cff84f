"""Arithmetic on short vectors of rays, as LLVM IR.

Numba vectorises simple loops, but no loop whose length depends on the data, and the orbit of a
point is one. So the orbits of `RAYS` points are iterated together here, each lane keeping its values
once its own orbit has ended. A lane computes what CUDA's one thread computes, operation by operation:
every function below is one IEEE operation a lane.
"""

# mypy: ignore-errors
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import llvmlite.ir as ir
from numba.core import cgutils

from fracgen.formulas.mandelbulb.constants import ABOUT, INVERSE_ROOT, LOGARITHM
from fracgen.rendering.cpu.arithmetic import LANES

RAYS = 2 * LANES
"""Rays advanced together: two vector registers of them, so that one's latency hides the other's."""

F32, I32 = ir.FloatType(), ir.IntType(32)
_FLOATS, _INTS = ir.VectorType(F32, RAYS), ir.VectorType(I32, RAYS)


class Lanes:
    """A vector of RAYS float32 (or of conditions) under construction."""

    def __init__(self, builder, value):
        self.builder, self.value = builder, value

    def _of(self, other):
        return other.value if isinstance(other, Lanes) else ir.Constant(_FLOATS, [float(other)] * RAYS)

    def _new(self, value) -> Lanes:
        return Lanes(self.builder, value)

    def constant(self, value: float) -> Lanes:
        """A number in every lane."""
        return self._new(self._of(value))

    def __add__(self, other) -> Lanes:
        return self._new(self.builder.fadd(self.value, self._of(other)))

    def __sub__(self, other) -> Lanes:
        return self._new(self.builder.fsub(self.value, self._of(other)))

    def __mul__(self, other) -> Lanes:
        return self._new(self.builder.fmul(self.value, self._of(other)))

    __rmul__ = __mul__

    def __truediv__(self, other) -> Lanes:
        return self._new(self.builder.fdiv(self.value, self._of(other)))

    def __rtruediv__(self, other) -> Lanes:
        return self._new(self.builder.fdiv(self._of(other), self.value))

    def __neg__(self) -> Lanes:
        return self._new(self.builder.fneg(self.value))

    def __lt__(self, other) -> Lanes:
        return self._new(self.builder.fcmp_ordered("<", self.value, self._of(other)))

    def __le__(self, other) -> Lanes:
        return self._new(self.builder.fcmp_ordered("<=", self.value, self._of(other)))

    def __gt__(self, other) -> Lanes:
        return self._new(self.builder.fcmp_ordered(">", self.value, self._of(other)))

    def __ge__(self, other) -> Lanes:
        return self._new(self.builder.fcmp_ordered(">=", self.value, self._of(other)))

    def __and__(self, other: Lanes) -> Lanes:
        return self._new(self.builder.and_(self.value, other.value))

    def __or__(self, other: Lanes) -> Lanes:
        return self._new(self.builder.or_(self.value, other.value))

    def __invert__(self) -> Lanes:
        return self._new(self.builder.not_(self.value))

    def where(self, yes, no) -> Lanes:
        """`yes` in the lanes of this condition, else `no`."""
        return self._new(self.builder.select(self.value, self._of(yes), self._of(no)))

    def bits(self):
        """This condition as an integer of one bit a lane."""
        return self.builder.bitcast(self.value, ir.IntType(RAYS))

    def count(self):
        """In how many lanes the condition holds, a scalar int32."""
        bits = self.builder.ctpop(self.bits())
        return self.builder.zext(bits, I32) if RAYS < 32 else bits


def fma(a, b, c) -> Lanes:
    """a * b + c, rounded once; one of the three at least is a `Lanes`, which gives the builder."""
    lanes: Lanes = next(v for v in (a, b, c) if isinstance(v, Lanes))
    return lanes._new(_intrinsic(lanes.builder, "fma", *(lanes._of(v) for v in (a, b, c))))


def absolute(a: Lanes) -> Lanes:
    """The value without its sign."""
    return a._new(_intrinsic(a.builder, "fabs", a.value))


def smaller(a: Lanes, b) -> Lanes:
    """a where a < b, else b."""
    return (a < b).where(a, b)


def larger(a: Lanes, b) -> Lanes:
    """a where a > b, else b."""
    return (a > b).where(a, b)


def inverse_root(v: Lanes) -> Lanes:
    """1 / sqrt(v), off by 9e-7 of it: a guess from halved bits, times a polynomial in what is left. At 0 it is large
    and finite."""
    y = root_guess(v)
    t = v * y * y
    series = fma(t, INVERSE_ROOT[-1], INVERSE_ROOT[-2])
    for factor in INVERSE_ROOT[-3::-1]:
        series = fma(series, t, factor)
    return y * series


def root_guess(v: Lanes) -> Lanes:
    """1 / sqrt(v) to a thirtieth, from halved bits."""
    builder = v.builder
    return v._new(builder.bitcast(builder.sub(_whole(0x5F3759DF), builder.ashr(_bits(v), _whole(1))), _FLOATS))


def over(v: Lanes) -> Lanes:
    """1 / v of a positive float to a fiftieth, from its bits."""
    y = v._new(v.builder.bitcast(v.builder.sub(_whole(0x7EF311C7), _bits(v)), _FLOATS))
    return y * fma(-v, y, 2.0)


def about(r2: Lanes, dr: Lanes) -> Lanes:
    """r ln(r) / (2 dr) to a sixth: a float's bits are nearly its logarithm, and those of a root or a quotient a half
    or a difference of them."""
    builder, bits = r2.builder, _bits(r2)
    over = builder.add(builder.ashr(bits, _whole(1)), builder.sub(_whole(0x5F400000), _bits(dr)))
    level = r2._new(builder.sitofp(builder.sub(bits, _whole(0x3F800000)), _FLOATS))
    return level * ABOUT * r2._new(builder.bitcast(over, _FLOATS))


def logarithm(a: Lanes) -> Lanes:
    """Natural logarithm of a positive float, by a polynomial on [sqrt(1/2), sqrt(2))."""
    builder = a.builder
    word = _bits(a)
    exponent = builder.ashr(builder.sub(word, _whole(0x3F3504F3)), _whole(23))
    f = a._new(builder.bitcast(builder.sub(word, builder.shl(exponent, _whole(23))), _FLOATS)) - 1.0
    series = fma(f, LOGARITHM[-1], LOGARITHM[-2])
    for factor in LOGARITHM[-3::-1]:
        series = fma(series, f, factor)
    return fma(a._new(builder.sitofp(exponent, _FLOATS)), 0.6931471805599453, f * series)


def _bits(a: Lanes):
    """The bits of floats as integers."""
    return a.builder.bitcast(a.value, _INTS)


def _whole(value: int):
    """An integer in every lane."""
    return ir.Constant(_INTS, [value] * RAYS)


def _intrinsic(builder, name: str, *values):
    kind = ir.FunctionType(values[0].type, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{RAYS}f32"), values)


class Code:
    """Writes one function's IR: memory rows, variables that change, loops."""

    def __init__(self, context, builder):
        self.context, self.builder = context, builder

    def rows(self, array_type, array) -> Callable:
        """A pointer to each row of a float32 [rows, RAYS] array."""
        data = cgutils.create_struct_proxy(array_type)(self.context, self.builder, array).data
        pointer = self.builder.bitcast(data, _FLOATS.as_pointer())
        return lambda row: self.builder.gep(pointer, [I32(row)])

    def load(self, pointer) -> Lanes:
        return Lanes(self.builder, self.builder.load(pointer, align=4))

    def store(self, value: Lanes, pointer):
        self.builder.store(value.value, pointer, align=4)

    def splat(self, scalar) -> Lanes:
        """A scalar in every lane."""
        vector = self.builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), scalar, I32(0))
        mask = ir.Constant(_INTS, [0] * RAYS)
        return Lanes(self.builder, self.builder.shuffle_vector(vector, ir.Constant(_FLOATS, ir.Undefined), mask))

    def splat_bit(self, bit) -> Lanes:
        """A scalar condition in every lane."""
        kind = ir.VectorType(ir.IntType(1), RAYS)
        vector = self.builder.insert_element(ir.Constant(kind, ir.Undefined), bit, I32(0))
        mask = ir.Constant(_INTS, [0] * RAYS)
        return Lanes(self.builder, self.builder.shuffle_vector(vector, ir.Constant(kind, ir.Undefined), mask))

    def constant(self, value: float) -> Lanes:
        return Lanes(self.builder, ir.Constant(_FLOATS, [value] * RAYS))

    def never(self) -> Lanes:
        """A condition that holds nowhere."""
        return Lanes(self.builder, ir.Constant(ir.VectorType(ir.IntType(1), RAYS), [0] * RAYS))

    def variable(self, value: Lanes) -> Variable:
        """A vector that changes; LLVM keeps it in a register."""
        return Variable(self.builder, value)

    @contextmanager
    def forever(self) -> Iterator:
        """Repeat the body until it branches to the block that this gives."""
        function = self.builder.function
        body, after = function.append_basic_block("body"), function.append_basic_block("after")
        self.builder.branch(body)
        self.builder.position_at_end(body)
        yield after
        self.builder.branch(body)
        self.builder.position_at_end(after)

    def leave_unless(self, condition, after):
        """Go to `after` where a scalar condition fails."""
        more = self.builder.function.append_basic_block("more")
        self.builder.cbranch(condition, more, after)
        self.builder.position_at_end(more)


class Variable:
    """Memory of one vector, with a value that can be replaced."""

    def __init__(self, builder, value: Lanes):
        self.builder = builder
        self.pointer = cgutils.alloca_once(builder, value.value.type)
        self.set(value)

    def get(self) -> Lanes:
        return Lanes(self.builder, self.builder.load(self.pointer))

    def set(self, value: Lanes):
        self.builder.store(value.value, self.pointer)
