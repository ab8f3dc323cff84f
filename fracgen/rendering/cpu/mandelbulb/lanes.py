"""Arithmetic on short vectors of rays, as LLVM IR.

Numba vectorises simple loops, but no loop whose length depends on the data, and the orbit of a
point is one. So the orbits of `RAYS` points are iterated together here, each lane keeping its values
once its own orbit has ended. A lane computes what CUDA's one thread computes, operation by operation:
every function below is one IEEE operation a lane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.ir as ir
from numba.core import cgutils

from fracgen.rendering.cpu.simd import LANES

RAYS = 2 * LANES
"""Rays advanced together: two vector registers of them, so that one's latency hides the other's."""

F32, I32 = ir.FloatType(), ir.IntType(32)
_FLOATS, _INTS = ir.VectorType(F32, RAYS), ir.VectorType(I32, RAYS)


class Lanes:
    """A vector of RAYS float32 (or of conditions) under construction."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _of(self, other: Any) -> Any:
        return other.value if isinstance(other, Lanes) else ir.Constant(_FLOATS, [float(other)] * RAYS)

    def _new(self, value: Any) -> Lanes:
        return Lanes(self.builder, value)

    def __add__(self, other: Any) -> Lanes:
        return self._new(self.builder.fadd(self.value, self._of(other)))

    def __sub__(self, other: Any) -> Lanes:
        return self._new(self.builder.fsub(self.value, self._of(other)))

    def __mul__(self, other: Any) -> Lanes:
        return self._new(self.builder.fmul(self.value, self._of(other)))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Lanes:
        return self._new(self.builder.fdiv(self.value, self._of(other)))

    def __rtruediv__(self, other: Any) -> Lanes:
        return self._new(self.builder.fdiv(self._of(other), self.value))

    def __neg__(self) -> Lanes:
        return self._new(self.builder.fneg(self.value))

    def __lt__(self, other: Any) -> Lanes:
        return self._new(self.builder.fcmp_ordered("<", self.value, self._of(other)))

    def __le__(self, other: Any) -> Lanes:
        return self._new(self.builder.fcmp_ordered("<=", self.value, self._of(other)))

    def __gt__(self, other: Any) -> Lanes:
        return self._new(self.builder.fcmp_ordered(">", self.value, self._of(other)))

    def __ge__(self, other: Any) -> Lanes:
        return self._new(self.builder.fcmp_ordered(">=", self.value, self._of(other)))

    def __and__(self, other: Lanes) -> Lanes:
        return self._new(self.builder.and_(self.value, other.value))

    def __or__(self, other: Lanes) -> Lanes:
        return self._new(self.builder.or_(self.value, other.value))

    def __invert__(self) -> Lanes:
        return self._new(self.builder.not_(self.value))

    def where(self, yes: Any, no: Any) -> Lanes:
        """`yes` in the lanes of this condition, else `no`."""
        return self._new(self.builder.select(self.value, self._of(yes), self._of(no)))

    def bits(self) -> Any:
        """This condition as an integer of one bit a lane."""
        return self.builder.bitcast(self.value, ir.IntType(RAYS))

    def any(self) -> Any:
        """Whether the condition holds in some lane."""
        return self.builder.icmp_unsigned("!=", self.bits(), ir.Constant(ir.IntType(RAYS), 0))


def fma(a: Any, b: Any, c: Any) -> Lanes:
    """a * b + c, rounded once; one of the three at least is a `Lanes`, which gives the builder."""
    lanes: Lanes = next(v for v in (a, b, c) if isinstance(v, Lanes))
    return lanes._new(_intrinsic(lanes.builder, "fma", *(lanes._of(v) for v in (a, b, c))))


def sqrt(a: Lanes) -> Lanes:
    """Square root as IEEE has it."""
    return a._new(_intrinsic(a.builder, "sqrt", a.value))


def absolute(a: Lanes) -> Lanes:
    """The value without its sign."""
    return a._new(_intrinsic(a.builder, "fabs", a.value))


def smaller(a: Lanes, b: Any) -> Lanes:
    """a where a < b, else b."""
    return (a < b).where(a, b)


def logarithm(a: Lanes) -> Lanes:
    """See `fracgen.rendering.cpu.mandelbulb.orbit.logarithm`."""
    builder = a.builder

    def number(value: int) -> Any:
        return ir.Constant(_INTS, [value] * RAYS)

    word = builder.bitcast(a.value, _INTS)
    exponent = builder.ashr(builder.sub(word, number(0x3F3504F3)), number(23))
    mantissa = a._new(builder.bitcast(builder.sub(word, builder.shl(exponent, number(23))), _FLOATS))
    f = mantissa - 1.0
    s = f / (f + 2.0)
    square = s * s
    series = fma(fma(fma(fma(square, 1 / 9, 1 / 7), square, 1 / 5), square, 1 / 3), square, 1.0)
    return fma(a._new(builder.sitofp(exponent, _FLOATS)), 0.6931471805599453, (s + s) * series)


def _intrinsic(builder: Any, name: str, *values: Any) -> Any:
    kind = ir.FunctionType(values[0].type, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{RAYS}f32"), values)


class Code:
    """Writes one function's IR: memory rows, variables that change, loops."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder

    def rows(self, array_type: Any, array: Any) -> Callable[[int], Any]:
        """A pointer to each row of a float32 [rows, RAYS] array."""
        data = cgutils.create_struct_proxy(array_type)(self.context, self.builder, array).data
        pointer = self.builder.bitcast(data, _FLOATS.as_pointer())
        return lambda row: self.builder.gep(pointer, [I32(row)])

    def load(self, pointer: Any) -> Lanes:
        return Lanes(self.builder, self.builder.load(pointer, align=4))

    def store(self, value: Lanes, pointer: Any) -> None:
        self.builder.store(value.value, pointer, align=4)

    def splat(self, scalar: Any) -> Lanes:
        """A scalar in every lane."""
        vector = self.builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), scalar, I32(0))
        mask = ir.Constant(_INTS, [0] * RAYS)
        return Lanes(self.builder, self.builder.shuffle_vector(vector, ir.Constant(_FLOATS, ir.Undefined), mask))

    def constant(self, value: float) -> Lanes:
        return Lanes(self.builder, ir.Constant(_FLOATS, [value] * RAYS))

    def never(self) -> Lanes:
        """A condition that holds nowhere."""
        return Lanes(self.builder, ir.Constant(ir.VectorType(ir.IntType(1), RAYS), [0] * RAYS))

    def variable(self, value: Lanes) -> Variable:
        """A vector that changes; LLVM keeps it in a register."""
        return Variable(self.builder, value)

    @contextmanager
    def forever(self) -> Iterator[Any]:
        """Repeat the body until it branches to the block that this gives."""
        function = self.builder.function
        body, after = function.append_basic_block("body"), function.append_basic_block("after")
        self.builder.branch(body)
        self.builder.position_at_end(body)
        yield after
        self.builder.branch(body)
        self.builder.position_at_end(after)

    def leave_unless(self, condition: Any, after: Any) -> None:
        """Go to `after` where a scalar condition fails."""
        more = self.builder.function.append_basic_block("more")
        self.builder.cbranch(condition, more, after)
        self.builder.position_at_end(more)


class Variable:
    """Memory of one vector, with a value that can be replaced."""

    def __init__(self, builder: Any, value: Lanes) -> None:
        self.builder = builder
        self.pointer = cgutils.alloca_once(builder, value.value.type)
        self.set(value)

    def get(self) -> Lanes:
        return Lanes(self.builder, self.builder.load(self.pointer))

    def set(self, value: Lanes) -> None:
        self.builder.store(value.value, self.pointer)
