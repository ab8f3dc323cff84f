"""The few LLVM instructions that Numba has no words for.

A chaos game step is a table look-up and four fused multiply-adds. Numba has no fused
multiply-add, and LLVM does not vectorise look-ups on its own; but it does turn "take lane i[k] of
this vector, for every k" into one permute instruction, and a table of eight maps is exactly a
vector. So the step is written here as LLVM IR on short vectors: portable, and one `vpermps` per
coefficient on a CPU with AVX2. `fma` is IEEE-exact, so the results are those of CUDA's
`__fmaf_rn` to the last bit.
"""

from __future__ import annotations

import os
from typing import Any

import llvmlite.binding as llvm
import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = int(os.environ.get("FRACGEN_LANES", 16 if llvm.get_host_cpu_features().get("avx512f") else 8))
"""Orbits advanced together, 8 or 16 (FRACGEN_LANES forces one, for tests). It decides speed only: a lane never
sees another."""

ROUND_TO_INT = 12582912.0
"""1.5 * 2^23: adding it to a float32 below 2^22 in size rounds it to the nearest integer, ties to
even, and leaves that integer in the low bits. NaN and infinity end up far outside any window."""
ROUND_BITS = 0x4B400000

_F32, _I32 = ir.FloatType(), ir.IntType(32)


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """float32 a * b + c with one rounding."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), codegen


@intrinsic
def float_bits(typingctx: Any, a: Any) -> Any:
    """The bits of a float32 as an int32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _I32)

    return types.int32(types.float32), codegen


def _vector_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Lane-wise fused multiply-add; llvmlite's own `fma` takes scalars only."""
    kind = ir.FunctionType(a.type, [a.type] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
    return builder.call(function, [a, b, c])


def _splat(builder: Any, value: Any) -> Any:
    vector = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    vector = builder.insert_element(vector, value, _I32(0))
    zeros = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), zeros)


def _permute(builder: Any, table: Any, index: Any) -> Any:
    """table[index[k]] for every lane k."""
    result = ir.Constant(ir.VectorType(table.type.element, LANES), ir.Undefined)
    for lane in range(LANES):
        source = builder.extract_element(index, _I32(lane))
        result = builder.insert_element(result, builder.extract_element(table, source), _I32(lane))
    return result


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, element: Any, lanes: int) -> Any:
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), ir.VectorType(element, lanes).as_pointer())


def _load(builder: Any, pointer: Any, constant: bool = False) -> Any:
    value = builder.load(pointer, align=4)
    if constant:  # lets LLVM keep the table in registers although the loop also stores
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value


@intrinsic
def advance(typingctx: Any, table: Any, words: Any, shift: Any, x: Any, y: Any, at: Any) -> Any:
    """Move LANES orbits, from `at` on, one step of the chaos game.

    Args:
        table: float32 [7, LANES]; rows a, b, c, d, e, f of x' = a x + b y + e, y' = c x + d y + f
            per map, then the choice table (int32 bits), see `rendering.cpu.ifs.code`.
        words: uint32 [orbits]; 16 bits from bit `shift` on choose the map.
        x, y: float32 [orbits], changed in place.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        table_type, words_type, _, x_type, y_type, _ = signature.args
        vec_i = ir.VectorType(_I32, LANES)

        def const(value: int) -> Any:
            return ir.Constant(vec_i, [value] * LANES)

        def row(k: int, element: Any = _F32) -> Any:
            offset = ir.Constant(args[5].type, k * LANES)
            return _load(builder, _pointer(context, builder, table_type, args[0], offset, element, LANES), True)

        word = _load(builder, _pointer(context, builder, words_type, args[1], args[5], _I32, LANES))
        word = builder.and_(builder.lshr(word, _splat(builder, args[2])), const(0xFFFF))
        column = builder.lshr(word, const(13))
        entry = _permute(builder, builder.bitcast(row(6), vec_i), column)
        own = builder.icmp_signed("<=", builder.shl(word, const(8)), entry)
        chosen = builder.select(own, column, builder.and_(entry, const(7)))
        a, b, c, d, e, f = (_permute(builder, row(k), chosen) for k in range(6))
        x_at = _pointer(context, builder, x_type, args[3], args[5], _F32, LANES)
        y_at = _pointer(context, builder, y_type, args[4], args[5], _F32, LANES)
        px, py = _load(builder, x_at), _load(builder, y_at)
        builder.store(_vector_fma(builder, a, px, _vector_fma(builder, b, py, e)), x_at, align=4)
        builder.store(_vector_fma(builder, c, px, _vector_fma(builder, d, py, f)), y_at, align=4)
        return context.get_dummy_value()

    return types.void(table, words, types.int32, x, y, types.int64), codegen


@intrinsic
def locate(typingctx: Any, x: Any, y: Any, window: Any, strides: Any, cells: Any, at: Any) -> Any:
    """The histogram cell of LANES points, from `at` on.

    Args:
        x, y: float32 [orbits].
        window: float32 [4]; scale and offset of x, then of y, to grid coordinates.
        strides: int32 [4]; cells per step of x and of y, side of the grid, number of the spare
            cell that points outside of the grid go to.
        cells: int32 [orbits], written.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x_type, y_type, window_type, strides_type, cells_type, _ = signature.args

        def scalar(array_type: Any, array: Any, k: int) -> Any:
            data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
            return _splat(builder, _load(builder, builder.gep(data, [ir.Constant(args[5].type, k)]), True))

        def grid(array_type: Any, array: Any, k: int) -> Any:
            value = _load(builder, _pointer(context, builder, array_type, array, args[5], _F32, LANES))
            value = _vector_fma(builder, value, scalar(window_type, args[2], k), scalar(window_type, args[2], k + 1))
            value = builder.fadd(value, ir.Constant(value.type, [ROUND_TO_INT] * LANES))
            value = builder.bitcast(value, ir.VectorType(_I32, LANES))
            return builder.sub(value, ir.Constant(value.type, [ROUND_BITS] * LANES))

        gx, gy = grid(x_type, args[0], 0), grid(y_type, args[1], 2)
        step_x, step_y, side, spare = (scalar(strides_type, args[3], k) for k in range(4))
        inside = builder.and_(builder.icmp_unsigned("<", gx, side), builder.icmp_unsigned("<", gy, side))
        cell = builder.add(builder.mul(gx, step_x), builder.mul(gy, step_y))
        cell = builder.select(inside, cell, spare)
        builder.store(cell, _pointer(context, builder, cells_type, args[4], args[5], _I32, LANES), align=4)
        return context.get_dummy_value()

    return types.void(x, y, window, strides, cells, types.int64), codegen
