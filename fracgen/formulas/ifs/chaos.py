"""A step of the chaos game, for several orbits at a time, in LLVM's words.

A step is a table look-up and four fused multiply-adds. Numba has no fused multiply-add, and LLVM does not vectorise
look-ups on its own; but it does turn "take lane i[k] of this vector, for every k" into one permute instruction, and
a table of eight maps is exactly a vector. So the step is written here as LLVM IR on short vectors: portable, and one
`vpermps` per coefficient on a CPU with AVX2. `fma` is IEEE-exact, so the results are those of CUDA's `__fmaf_rn` to
the last bit.
"""

# mypy: ignore-errors
from __future__ import annotations

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fracgen.formulas.ifs.records import ORBITS, PAIR_ORDER
from fracgen.rendering.cpu.arithmetic import LANES, ROUND_BITS, ROUND_TO_INT

PAIRS = ORBITS // 2

_F32, _I32 = ir.FloatType(), ir.IntType(32)


def _vector_fma(builder, a, b, c):
    """Lane-wise fused multiply-add; llvmlite's own `fma` takes scalars only."""
    kind = ir.FunctionType(a.type, [a.type] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
    return builder.call(function, [a, b, c])


def _splat(builder, value):
    vector = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    vector = builder.insert_element(vector, value, _I32(0))
    zeros = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), zeros)


def _permute(builder, table, index):
    """table[index[k]] for every lane k."""
    result = ir.Constant(ir.VectorType(table.type.element, LANES), ir.Undefined)
    for lane in range(LANES):
        source = builder.extract_element(index, _I32(lane))
        result = builder.insert_element(result, builder.extract_element(table, source), _I32(lane))
    return result


def _pointer(context, builder, array_type, array, offset, element, lanes: int):
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), ir.VectorType(element, lanes).as_pointer())


def _load(builder, pointer, constant: bool = False):
    value = builder.load(pointer, align=4)
    if constant:  # lets LLVM keep the table in registers although the loop also stores
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value


def _constant(value, element = _I32):
    return ir.Constant(ir.VectorType(element, LANES), [value] * LANES)


class _Vectors:
    """Loads and stores of LANES numbers, from `start` on, of the arrays that an intrinsic was given."""

    def __init__(self, context, builder, signature, args):
        self.context, self.builder, self.types, self.args = context, builder, signature.args, args
        self.start = args[-1]

    def _at(self, array: int, offset, element):
        return _pointer(self.context, self.builder, self.types[array], self.args[array], offset, element, LANES)

    def load(self, array: int, element):
        return _load(self.builder, self._at(array, self.start, element))

    def store(self, array: int, value, offset = None):
        place = self._at(array, self.start if offset is None else offset, value.type.element)
        self.builder.store(value, place, align=4)

    def row(self, array: int, k: int, element):
        """Row k of a table [.., LANES]."""
        return _load(self.builder, self._at(array, ir.Constant(self.start.type, k * LANES), element), True)

    def scalar(self, array: int, k: int):
        """Number k of a small array, in every lane."""
        data = cgutils.create_struct_proxy(self.types[array])(self.context, self.builder, self.args[array]).data
        number = self.builder.gep(data, [ir.Constant(self.start.type, k)])
        return _splat(self.builder, _load(self.builder, number, True))


def _choose(builder, table: _Vectors, word) -> list:
    """The maps (a, b, c, d, e, f) that the lower 16 bits of `word` choose; array 0 is the table."""
    column = builder.lshr(word, _constant(13))
    entry = _permute(builder, table.row(0, 6, _I32), column)
    own = builder.icmp_signed("<=", builder.shl(word, _constant(8)), entry)
    chosen = builder.select(own, column, builder.and_(entry, _constant(7)))
    return [_permute(builder, table.row(0, k, _F32), chosen) for k in range(6)]


def _advance(builder, map_: list, x, y) -> tuple:
    """One step of the chaos game."""
    a, b, c, d, e, f = map_
    return (
        _vector_fma(builder, a, x, _vector_fma(builder, b, y, e)),
        _vector_fma(builder, c, x, _vector_fma(builder, d, y, f)),
    )


def _grid_line(builder, value, scale, offset):
    value = builder.fadd(_vector_fma(builder, value, scale, offset), _constant(ROUND_TO_INT, _F32))
    return builder.sub(builder.bitcast(value, ir.VectorType(_I32, LANES)), _constant(ROUND_BITS))


@intrinsic
def advance(typingctx, table, words, shift, x, y, start):
    """Move LANES orbits, from `start` on, one step of the chaos game.

    Args:
        table: float32 [7, LANES]; rows a, b, c, d, e, f of x' = a x + b y + e, y' = c x + d y + f
            per map, then the choice table (int32 bits), see `formulas.ifs.code`.
        words: uint32 [orbits]; 16 bits from bit `shift` on choose the map.
        x, y: float32 [orbits], changed in place.
    """

    def codegen(context, builder, signature, args):
        vectors = _Vectors(context, builder, signature, args)
        word = builder.lshr(vectors.load(1, _I32), _splat(builder, args[2]))
        map_ = _choose(builder, vectors, builder.and_(word, _constant(0xFFFF)))
        new_x, new_y = _advance(builder, map_, vectors.load(3, _F32), vectors.load(4, _F32))
        vectors.store(3, new_x)
        vectors.store(4, new_y)
        return context.get_dummy_value()

    return types.void(table, words, types.int32, x, y, types.int64), codegen


@intrinsic
def draw_four(
    typingctx, table, first, second, x, y, window, strides, cells,
    start,
):  # fmt: skip
    """Four steps of LANES pairs of orbits, from `start` on, and the histogram cells of their points.

    Args:
        table: as of `advance`.
        first, second: uint32 [pairs]; the halves of both words, lower ones first, choose four maps.
        x, y: float32 [2 * pairs], changed in place; the second half takes the maps in `PAIR_ORDER`.
        window: float32 [4]; scale and offset of x, then of y, to grid coordinates.
        strides: int32 [4]; cells per step of x and of y, side of the grid, number of the spare
            cell that points outside of the grid go to.
        cells: int32 [8 * pairs], written: the first orbits' four steps, then the second ones'.
    """

    def codegen(context, builder, signature, args):
        v = _Vectors(context, builder, signature, args)
        maps = []
        for array in (1, 2):
            word = v.load(array, _I32)
            maps.append(_choose(builder, v, builder.and_(word, _constant(0xFFFF))))
            maps.append(_choose(builder, v, builder.lshr(word, _constant(16))))
        scale_x, offset_x, scale_y, offset_y = (v.scalar(5, k) for k in range(4))
        step_x, step_y, side, spare = (v.scalar(6, k) for k in range(4))
        for orbit, order in enumerate((range(4), PAIR_ORDER)):
            place = builder.add(v.start, ir.Constant(v.start.type, orbit * PAIRS))
            px, py = (_load(builder, v._at(array, place, _F32)) for array in (3, 4))
            for step, k in enumerate(order):
                px, py = _advance(builder, maps[k], px, py)
                gx = _grid_line(builder, px, scale_x, offset_x)
                gy = _grid_line(builder, py, scale_y, offset_y)
                inside = builder.and_(builder.icmp_unsigned("<", gx, side), builder.icmp_unsigned("<", gy, side))
                cell = builder.add(builder.mul(gx, step_x), builder.mul(gy, step_y))
                cell = builder.select(inside, cell, spare)
                v.store(7, cell, builder.add(v.start, ir.Constant(v.start.type, (4 * orbit + step) * PAIRS)))
            v.store(3, px, place)
            v.store(4, py, place)
        return context.get_dummy_value()

    return types.void(table, first, second, x, y, window, strides, cells, types.int64), codegen
