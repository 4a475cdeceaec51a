"""A vector register as a value in numba functions, so that passes over memory read like plain loops.

`load(L, array, i)` is a vector of the L numbers from index i on; vectors are added, subtracted, multiplied and divided
lane by lane, chosen from with `if_above` and `if_equal`, and stored. `like(L, array, number)` is a vector of one number
in the array's type.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, register_model

from weightprint.training.fast.emit import Emitter, element_type, intrinsic


class Vector(types.Type):
    """numba's name for `lanes` numbers of one type in a register."""

    def __init__(self, dtype: types.Type, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"vector({dtype}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(element_type(kind.dtype), kind.lanes))


def _operator(symbols: tuple[Callable, ...], instruction: str) -> None:
    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)

    for symbol in symbols:
        infer_global(symbol)(type(f"Vector_{instruction}", (Template,), {"key": symbol}))
        lower_builtin(symbol, Vector, Vector)(lower)


_operator((operator.add, operator.iadd), "fadd")
_operator((operator.sub, operator.isub), "fsub")
_operator((operator.mul, operator.imul), "fmul")
_operator((operator.truediv, operator.itruediv), "fdiv")


def _emitter(context: Any, builder: Any, kind: Vector) -> Emitter:
    return Emitter(context, builder, kind.dtype, kind.lanes)


@intrinsic(prefer_literal=True)
def load(typing_context, lanes, array, index):
    """The vector of the numbers from array[index] on."""
    kind = Vector(array.dtype, lanes.literal_value)

    def codegen(context, builder, sig, args):
        emit = _emitter(context, builder, kind)
        return emit.load(emit.data(array, args[1]), args[2])

    return kind(lanes, array, types.int64), codegen


@intrinsic
def store(typing_context, array, index, value):
    """array[index : index + L] = value"""

    def codegen(context, builder, sig, args):
        emit = _emitter(context, builder, value)
        emit.store(args[2], emit.data(array, args[0]), args[1])
        return context.get_dummy_value()

    return types.void(array, types.int64, value), codegen


@intrinsic(prefer_literal=True)
def like(typing_context, lanes, array, number):
    """A vector with one number, in the type of the array's, in every lane."""
    kind = Vector(array.dtype, lanes.literal_value)
    plain = types.unliteral(number)

    def codegen(context, builder, sig, args):
        return _emitter(context, builder, kind).splat(context.cast(builder, args[2], plain, kind.dtype))

    return kind(lanes, array, plain), codegen


@intrinsic(prefer_literal=True)
def constant(typing_context, vector, number):
    """A vector of the form of another, with one number in every lane."""
    plain = types.unliteral(number)

    def codegen(context, builder, sig, args):
        return _emitter(context, builder, vector).splat(context.cast(builder, args[1], plain, vector.dtype))

    return vector(vector, plain), codegen


@intrinsic
def fma(typing_context, a, b, c):
    """a · b + c"""

    def codegen(context, builder, sig, args):
        return _emitter(context, builder, a).call("fmuladd", *args)

    return a(a, a, a), codegen


@intrinsic
def floor(typing_context, a):
    """The largest whole number up to each lane."""

    def codegen(context, builder, sig, args):
        return _emitter(context, builder, a).call("floor", *args)

    return a(a), codegen


@intrinsic
def sqrt(typing_context, a):
    """The square root of each lane."""

    def codegen(context, builder, sig, args):
        return _emitter(context, builder, a).call("sqrt", *args)

    return a(a), codegen


@intrinsic
def copysign(typing_context, a, sign):
    """Each lane of `a` with the sign of that lane of `sign`."""

    def codegen(context, builder, sig, args):
        return _emitter(context, builder, a).call("copysign", *args)

    return a(a, a), codegen


def _choice(comparison: str) -> Any:
    @intrinsic
    def choose(typing_context, a, b, x, y):
        def codegen(context, builder, sig, args):
            return builder.select(builder.fcmp_ordered(comparison, args[0], args[1]), args[2], args[3])

        return a(a, a, a, a), codegen

    return choose


if_equal = _choice("==")
"""if_equal(a, b, x, y): lane by lane x where a = b, else y."""
if_above = _choice(">")
"""if_above(a, b, x, y): lane by lane x where a > b, else y, which is also taken where either is no number."""


@intrinsic(prefer_literal=True)
def lane(typing_context, a, number):
    """One of the numbers of a vector."""

    def codegen(context, builder, sig, args):
        return _emitter(context, builder, a).lane(args[0], number.literal_value)

    return a.dtype(a, number), codegen


@intrinsic
def total(typing_context, a):
    """The sum over lanes."""

    def codegen(context, builder, sig, args):
        (found,) = _emitter(context, builder, a).lane_sums([args[0]])
        return found

    return a.dtype(a), codegen


@intrinsic
def expm1(typing_context, a):
    """exp(a) - 1, also near 0, to the last bits but one.

    With a = n · ln 2 + r for a whole number n, it is 2ⁿ · (exp(r) - 1) + (2ⁿ - 1); |r| is at most ln 2 / 2, for which
    Taylor's series is short. a is cut to where neither 2ⁿ nor the result leaves the range of normal numbers.

    Adding `rounder` rounds to whole numbers, and leaves n in the lowest bits: moved up, they are the exponent of 2ⁿ.
    """
    bits, mantissa, bias, terms, limit = (
        (32, 23, 127, 8, 87.0) if a.dtype == types.float32 else (64, 52, 1023, 14, 708.0)
    )
    rounder, low_ln2 = 1.5 * 2.0**mantissa, math.log(2) - _HIGH_LN2

    def codegen(context, builder, sig, args):
        emit = _emitter(context, builder, a)

        def const(number: float) -> Any:
            return ir.Constant(emit.vector, [number] * a.lanes)

        def smaller(x: Any, y: Any, when: str) -> Any:
            return builder.select(builder.fcmp_ordered(when, x, y), x, y)

        x = smaller(const(limit), smaller(const(-limit), args[0], ">"), "<")
        shifted = emit.call("fmuladd", x, const(1 / math.log(2)), const(rounder))
        n = builder.fsub(shifted, const(rounder))
        r = emit.call("fmuladd", n, const(-low_ln2), emit.call("fmuladd", n, const(-_HIGH_LN2), x))
        series = const(1 / math.factorial(terms))
        for i in range(terms - 1, 1, -1):
            series = emit.call("fmuladd", series, r, const(1 / math.factorial(i)))
        series = emit.call("fmuladd", series, builder.fmul(r, r), r)
        whole = ir.VectorType(ir.IntType(bits), a.lanes)
        exponent = builder.shl(builder.bitcast(shifted, whole), ir.Constant(whole, [mantissa] * a.lanes))
        power = builder.bitcast(builder.add(exponent, ir.Constant(whole, [bias << mantissa] * a.lanes)), emit.vector)
        return emit.call("fmuladd", power, series, builder.fsub(power, const(1.0)))

    return a(a), codegen


@intrinsic
def log(typing_context, a):
    """The natural logarithm of positive, normal float32 numbers.

    With a = 2ⁿ · m, m between √½ and √2, and s = (m - 1) / (m + 1) it is n · ln 2 + 2 (s + s³/3 + s⁵/5 + …).
    """
    lowest = 0x3F3504F3  # the bits of √½

    def codegen(context, builder, sig, args):
        emit = _emitter(context, builder, a)
        whole = ir.VectorType(ir.IntType(32), a.lanes)

        def const(number: float) -> Any:
            return ir.Constant(emit.vector, [number] * a.lanes)

        def integer(number: int) -> Any:
            return ir.Constant(whole, [number] * a.lanes)

        bits = builder.bitcast(args[0], whole)
        n = builder.ashr(builder.sub(bits, integer(lowest)), integer(23))
        m = builder.bitcast(builder.sub(bits, builder.shl(n, integer(23))), emit.vector)
        s = builder.fdiv(builder.fsub(m, const(1.0)), builder.fadd(m, const(1.0)))
        square = builder.fmul(s, s)
        series = const(2 / 11)
        for power in (9, 7, 5, 3):
            series = emit.call("fmuladd", series, square, const(2 / power))
        series = emit.call("fmuladd", builder.fmul(series, square), s, builder.fadd(s, s))
        return emit.call("fmuladd", builder.sitofp(n, emit.vector), const(math.log(2)), series)

    return a(a), codegen


_HIGH_LN2 = 355 / 512
"""ln 2 in so few bits that its product with a whole number of the exponent's size is exact."""
