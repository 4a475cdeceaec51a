"""The innermost loops of a convolution of stride 1 that keeps the image's size.

Nothing is padded: a row is cut into a left tile, middle tiles and a right tile. Which columns of the filter fall off
the border is known when a tile's code is generated, and those products are left out; rows that fall off the border are
left out by the bounds of a loop. Filter size K, lanes L and the tile are known when code is generated; channels and
image sizes are ordinary numbers, so that one kernel per filter size serves every architecture.

Arrays are flat and in lanes, [G, H, C, W, L] (see the package); `x_at` and the like are the indices where to begin.
"""

from __future__ import annotations

from numba.core import types

from weightprint.training.fast.emit import Emitter, Value, integers, intrinsic

_FIVE = types.UniTuple(types.int64, 5)
_FOUR = types.UniTuple(types.int64, 4)


@intrinsic(prefer_literal=True)
def convolve_row(typing_context, x, x_at, w, out, out_at, ky_first, ky_stop, shape, spec):
    """One row of every output channel: the sum over input channels and filter rows and columns of w · x.

    x_at:    of row y - K // 2, channel 0, pixel 0 of the input
    out_at:  of row y, channel 0, pixel 0 of the output
    ky_first, ky_stop: the filter's rows that lie on the image
    shape:   input channels, output channels, width, and how far output and input channels are apart in w
    spec:    L, K, output channels and pixels of a tile, 1 where the filter is turned by 180° (the data gradient) else 0
    """
    L, K, channels, pixels, turned = integers(spec)
    reach = K // 2

    def codegen(context, builder, signature, args):
        emit = Emitter(context, builder, x.dtype, L)
        x_row, out_row = emit.begin(x, args[0], args[1]), emit.begin(out, args[3], args[4])
        weights = emit.data(w, args[2])
        inputs, outputs, width, w_output, w_input = emit.unpack(args[7])
        x_stride, channel_stride = emit.product(inputs, width, L), emit.product(width, L)

        def tile(first: Value, channels: int, pixel: Value, left: bool, right: bool) -> None:
            sums = [emit.accumulators(pixels) for _ in range(channels)]
            x_tile = emit.at(x_row, emit.product(pixel, L))
            numbers = [builder.add(first, emit.number(o)) for o in range(channels)]
            filters = [emit.at(weights, emit.product(number, w_output)) for number in numbers]
            with emit.loop(args[5], args[6]) as ky, emit.loop(0, inputs) as i:
                x_line = emit.at(x_tile, emit.index((ky, x_stride), (i, channel_stride)))
                filter_row = builder.sub(emit.number(K - 1), ky) if turned else ky
                lines = [emit.at(f, emit.index((i, w_input), (filter_row, K))) for f in filters]
                for kx in range(K):
                    x_line = emit.anew(x_line)
                    ws = [emit.broadcast(line, K - 1 - kx if turned else kx) for line in lines]
                    for p in range(pixels):
                        source = p + kx - reach
                        if not _beyond(source, pixels, left, right):
                            value = emit.load(x_line, source * L)
                            for o in range(channels):
                                emit.accumulate(ws[o], value, sums[o][p])
            for o in range(channels):
                target = emit.at(out_row, emit.product(numbers[o], channel_stride))
                for p in range(pixels):
                    emit.store(builder.load(sums[o][p]), target, emit.product(builder.add(pixel, emit.number(p)), L))

        emit.blocks(
            outputs,
            channels,
            lambda first, count: emit.tiles(width, pixels, lambda *where: tile(first, count, *where)),
        )
        return context.get_dummy_value()

    integer = types.int64
    return types.void(x, integer, w, out, integer, integer, integer, _FIVE, spec), codegen


@intrinsic(prefer_literal=True)
def weight_gradient(typing_context, x, x_at, d, dw, shape, spec):
    """Adds to dw [OC, IC, K, K] the sum over pixels and lanes of d · x, of one group of images.

    A few output channels and one input channel are used for all that they are needed for, while they are near; a row of
    the filter at a time has its sums in registers.

    x_at:   of the group's images; d has this group alone
    shape:  input channels, output channels, height, width
    spec:   L, K, output channels and pixels of a tile
    """
    L, K, channels, pixels = integers(spec)
    reach = K // 2

    def codegen(context, builder, signature, args):
        emit = Emitter(context, builder, x.dtype, L)
        x_data, d_data, dw_data = emit.begin(x, args[0], args[1]), emit.data(d, args[2]), emit.data(dw, args[3])
        inputs, outputs, height, width = emit.unpack(args[4])
        channel_stride = emit.product(width, L)
        x_stride, d_stride = emit.product(inputs, channel_stride), emit.product(outputs, channel_stride)

        def tile(x_line: Value, d_line: Value, sums: list, pixel: Value, left: bool, right: bool) -> None:
            at = emit.product(pixel, L)
            x_tile, d_tile = emit.at(x_line, at), emit.at(d_line, at)
            d_tiles = [emit.at(d_tile, emit.product(o, channel_stride)) for o in range(len(sums))]
            for p in range(pixels):
                if not (left or right):  # there are the most values to keep
                    x_tile = emit.anew(x_tile)
                ds = [emit.load(start, p * L) for start in d_tiles]
                for kx in range(K):
                    source = p + kx - reach
                    if not _beyond(source, pixels, left, right):
                        value = emit.load(x_tile, source * L)
                        for o, row in enumerate(sums):
                            emit.accumulate(ds[o], value, row[kx])

        def filter_row(first: Value, channels: int, i: Value, ky: Value) -> None:
            sums = [emit.accumulators(K) for _ in range(channels)]
            above = builder.sub(ky, emit.number(reach))
            start = emit.larger(emit.number(0), builder.neg(above))
            stop = emit.smaller(height, builder.sub(height, above))
            with emit.loop(start, stop) as y:
                x_line = emit.at(x_data, emit.index((builder.add(y, above), x_stride), (i, channel_stride)))
                d_line = emit.at(d_data, emit.index((y, d_stride), (first, channel_stride)))
                emit.tiles(width, pixels, lambda *where: tile(x_line, d_line, sums, *where))
            cells = [(o, kx) for o in range(channels) for kx in range(K)]
            for begin in range(0, len(cells), L):
                part = cells[begin : begin + L]
                found = emit.lane_sums([builder.load(sums[o][kx]) for o, kx in part])
                for (o, kx), number in zip(part, found, strict=True):
                    kernel = emit.index((builder.add(first, emit.number(o)), inputs), (i,))
                    emit.add_to(dw_data, emit.index((kernel, K * K), (ky, K), (kx,)), number)

        def some(first: Value, channels: int) -> None:
            with emit.loop(0, inputs) as i, emit.loop(0, K) as ky:
                filter_row(first, channels, i, ky)

        emit.blocks(outputs, channels, some)
        return context.get_dummy_value()

    return types.void(x, types.int64, d, dw, _FOUR, spec), codegen


def _beyond(source: int, pixels: int, left: bool, right: bool) -> bool:
    """Whether a pixel, counted from the tile's first, lies beyond the image's border."""
    return (left and source < 0) or (right and source >= pixels)
