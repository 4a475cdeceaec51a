"""Instructions on vectors, written with llvmlite: what numba's own language cannot say.

An intrinsic of numba is a function whose body is not compiled from Python: when code is generated, its `codegen` is
called with a builder, and every call on that builder appends one LLVM instruction. Python loops and ifs in there run
when the code is generated, not when it runs: that is how tiles are unrolled. `Emitter` gives the builder the words
that the kernels are written in: load, store, copy a number to all lanes, multiply and add, loop, sum over lanes.

Sums are kept in `accumulators`: places on the stack that LLVM turns into registers, as long as there are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic as _intrinsic

INDEX = ir.IntType(64)

Value = Any
"""An LLVM value; llvmlite has no types that a checker could use."""

intrinsic: Any = _intrinsic
"""numba's decorator; a type checker takes what it makes for objects that cannot be called as written."""


class Emitter:
    """A builder with vectors of `lanes` numbers of one type, `element`, numba's float32 or float64."""

    def __init__(self, context: Any, builder: Any, element: types.Type, lanes: int) -> None:
        self.context, self.builder, self.lanes = context, builder, lanes
        self.element = element_type(element)
        self.vector = ir.VectorType(self.element, lanes)

    # Indices. Wherever one is expected, a Python number will do.

    def number(self, value: int | Value) -> Value:
        return ir.Constant(INDEX, value) if isinstance(value, int) else value

    def product(self, *factors: int | Value) -> Value:
        total = self.number(factors[0])
        for factor in factors[1:]:
            total = self.builder.mul(total, self.number(factor))
        return total

    def index(self, *terms: tuple[int | Value, ...]) -> Value:
        """The sum of products."""
        total = self.number(0)
        for term in terms:
            total = self.builder.add(total, self.product(*term))
        return total

    def larger(self, a: Value, b: Value) -> Value:
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    def smaller(self, a: Value, b: Value) -> Value:
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def unpack(self, value: Value) -> list[Value]:
        """The entries of a tuple."""
        return cgutils.unpack_tuple(self.builder, value)

    # Memory

    def data(self, array_type: types.Array, array: Value) -> Value:
        """Where an array's numbers begin."""
        return self.context.make_array(array_type)(self.context, self.builder, array).data

    def begin(self, array_type: types.Array, array: Value, index: int | Value) -> Value:
        """Where an array's numbers are from `index` on."""
        return self.at(self.data(array_type, array), index)

    def at(self, pointer: Value, index: int | Value) -> Value:
        return self.builder.gep(pointer, [self.number(index)])

    def anew(self, pointer: Value) -> Value:
        """The same place, of which LLVM does not know that it is: what was loaded from it is loaded again when it is
        needed again, and not kept in a register that sums need more."""
        same = ir.FunctionType(pointer.type, [pointer.type])
        return self.builder.asm(same, "", "=r,0", [pointer], side_effect=False)

    def load(self, pointer: Value, index: int | Value) -> Value:
        place = self.builder.bitcast(self.at(pointer, index), self.vector.as_pointer())
        return self.builder.load(place, align=4)

    def store(self, value: Value, pointer: Value, index: int | Value) -> None:
        place = self.builder.bitcast(self.at(pointer, index), self.vector.as_pointer())
        self.builder.store(value, place, align=4)

    def broadcast(self, pointer: Value, index: int | Value) -> Value:
        """One number of memory in every lane."""
        return self.splat(self.builder.load(self.at(pointer, index), align=4))

    def add_to(self, pointer: Value, index: int | Value, number: Value) -> None:
        place = self.at(pointer, index)
        self.builder.store(self.builder.fadd(self.builder.load(place, align=4), number), place, align=4)

    # Vectors

    def zero(self) -> Value:
        return ir.Constant(self.vector, [0.0] * self.lanes)

    def splat(self, number: Value) -> Value:
        first = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), number, _int32(0))
        return self.shuffle(first, first, [0] * self.lanes)

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Lanes of two vectors, those of b counted on from those of a."""
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes)))

    def lane(self, vector: Value, lane: int) -> Value:
        return self.builder.extract_element(vector, _int32(lane))

    def call(self, name: str, *vectors: Value) -> Value:
        """An LLVM function of vectors, such as fmuladd, a · b + c; numba's own declaration of them knows no vectors."""
        kind = "f32" if self.element == ir.FloatType() else "f64"
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.vector, [self.vector] * len(vectors)),
            f"llvm.{name}.v{self.lanes}{kind}",
        )
        return self.builder.call(function, vectors)

    def accumulators(self, count: int) -> list[Value]:
        found = [cgutils.alloca_once(self.builder, self.vector) for _ in range(count)]
        for accumulator in found:
            self.builder.store(self.zero(), accumulator)
        return found

    def accumulate(self, a: Value, b: Value, accumulator: Value) -> None:
        """accumulator += a · b"""
        self.builder.store(self.call("fmuladd", a, b, self.builder.load(accumulator)), accumulator)

    def lane_sums(self, vectors: Sequence[Value]) -> list[Value]:
        """The sum over lanes of each of at most L vectors.

        A tree: two vectors become one whose lanes hold partial sums of the one and of the other in turn, until a
        single vector holds them all.
        """
        count = 1
        while count < len(vectors):
            count *= 2
        level = [*vectors, *[self.zero()] * (count - len(vectors))]
        distance = self.lanes // 2
        while len(level) > 1:
            half = len(level) // 2
            level = [self._fold(level[i], level[i + half], distance) for i in range(half)]
            distance //= 2
        (sums,) = level
        while distance:  # fewer vectors than lanes
            sums = self.builder.fadd(sums, self.shuffle(sums, sums, [i ^ distance for i in range(self.lanes)]))
            distance //= 2
        return [self.lane(sums, self._lane_of(i, count)) for i in range(len(vectors))]

    def _fold(self, a: Value, b: Value, distance: int) -> Value:
        """Lanes without the bit `distance` get a sum of two lanes of a that far apart, the others one of b."""
        near = [i if not i & distance else i - distance + self.lanes for i in range(self.lanes)]
        far = [i + distance if not i & distance else i + self.lanes for i in range(self.lanes)]
        return self.builder.fadd(self.shuffle(a, b, near), self.shuffle(a, b, far))

    def _lane_of(self, vector: int, count: int) -> int:
        """Where `lane_sums` leaves the sum of one of `count` vectors: its number's bits, the largest first."""
        lane, distance, bit = 0, self.lanes // 2, count // 2
        while bit:
            lane |= distance if vector & bit else 0
            distance, bit = distance // 2, bit // 2
        return lane

    # Control

    def loop(self, start: int | Value, stop: int | Value, step: int = 1) -> Any:
        """`with emitter.loop(a, b) as i:` the body runs for every i in range(a, b, step)."""
        return _Loop(self.builder, self.number(start), self.number(stop), self.number(step))

    def blocks(self, count: Value, size: int, body: Callable[[Value, int], None]) -> None:
        """body(first, n) for `count` things, n = `size` of them at a time, then 2, then 1.

        With threes a single one that would be left over and a three become two twos: one alone keeps few sums busy.
        """
        b, rest = self.builder, self.builder.srem(count, self.number(size))
        if size == 3:
            rest = b.select(b.icmp_signed("==", rest, self.number(1)), self.number(4), rest)
        start = self.number(0)
        stop = self.larger(start, b.sub(count, rest))
        for step in sorted({size, 2, 1} - set(range(size + 1, 3)), reverse=True):
            if step < size:
                stop = b.add(start, b.mul(b.sdiv(b.sub(count, start), self.number(step)), self.number(step)))
            with self.loop(start, stop, step) as first:
                body(first, step)
            start = stop

    def tiles(self, width: Value, pixels: int, body: Callable[[Value, bool, bool], None]) -> None:
        """body(first pixel, at the left border, at the right border) for every tile of a row of at least two tiles."""
        last = self.builder.sub(width, self.number(pixels))
        body(self.number(0), True, False)
        with self.loop(pixels, last, pixels) as first:
            body(first, False, False)
        body(last, False, True)


class _Loop:
    def __init__(self, *arguments: Any) -> None:
        builder, start, stop, step = arguments
        self._loop = cgutils.for_range_slice(builder, start, stop, step, INDEX)

    def __enter__(self) -> Value:
        return self._loop.__enter__()[0]

    def __exit__(self, *error: Any) -> None:
        self._loop.__exit__(*error)


def element_type(dtype: types.Type) -> Any:
    """LLVM's type of a float32 or float64."""
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def integers(literals: Iterable[Any]) -> tuple[int, ...]:
    """The values of a tuple of numbers that are known when code is generated."""
    return tuple(literal.literal_value for literal in literals)


def _int32(value: int) -> Value:
    return ir.Constant(ir.IntType(32), value)
