"""From bytes to lanes: images [.., 32, 32, 3] of bytes become numbers in [0, 1], [G, H, C, W, L]."""

from __future__ import annotations

from functools import cache

from llvmlite import ir
from numba.core import types

from weightprint.training.fast.cache import compiled
from weightprint.training.fast.emit import Emitter, integers, intrinsic


@intrinsic(prefer_literal=True)
def _pixels_tile(typing_context, images, starts, first, at, out, out_at, spec):
    """L neighbouring pixels of each of L images, as vectors over images.

    starts: [N] where in `images` each begins; first: of the L images; at: of the pixels' bytes, counted from there;
    out_at: of the pixels in `out`, channel 0; spec: L, channels, width
    """
    L, channels, width = integers(spec)

    def codegen(context, builder, signature, args):
        emit = Emitter(context, builder, out.dtype, L)
        image_data, start_data = emit.data(images, args[0]), emit.data(starts, args[1])
        target = emit.at(emit.data(out, args[4]), args[5])
        some_bytes = ir.VectorType(ir.IntType(8), L)
        places = []
        for i in range(L):
            start = builder.load(emit.at(start_data, builder.add(args[2], emit.number(i))))
            places.append(emit.at(image_data, builder.add(start, args[3])))
        for part in range(channels):
            rows = [
                builder.load(builder.bitcast(emit.at(place, part * L), some_bytes.as_pointer()), align=1)
                for place in places
            ]
            for j, column in enumerate(_transposed(emit, rows)):
                whole = builder.sitofp(builder.zext(column, ir.VectorType(ir.IntType(32), L)), emit.vector)
                pixel, channel = divmod(part * L + j, channels)
                value = builder.fmul(whole, ir.Constant(emit.vector, [1 / 255] * L))
                emit.store(value, target, (channel * width + pixel) * L)
        return context.get_dummy_value()

    return types.void(images, starts, types.int64, types.int64, out, types.int64, spec), codegen


def _transposed(emit: Emitter, rows: list) -> list:
    """The columns of a square of L rows of L bytes, in log2 L rounds of interleaving its halves."""
    size = len(rows)
    low = [i // 2 + i % 2 * size for i in range(size)]
    high = [size // 2 + i for i in low]
    for _ in range(size.bit_length() - 1):
        pairs = zip(rows[: size // 2], rows[size // 2 :], strict=True)
        rows = [mixed for a, b in pairs for mixed in (emit.shuffle(a, b, low), emit.shuffle(a, b, high))]
    return rows


@cache
def pixels_kernel(L, height, width, channels):
    """pixels(images, starts [G · L], out): bytes of the images that begin at `starts`, as shares of 255."""
    spec = (L, channels, width)

    @compiled
    def pixels(images, starts, out):
        for g in range(len(starts) // L):
            for y in range(height):
                row = (g * height + y) * channels * width * L
                for x in range(0, width, L):
                    _pixels_tile(images, starts, g * L, (y * width + x) * channels, out, row + x * L, spec)

    return pixels
