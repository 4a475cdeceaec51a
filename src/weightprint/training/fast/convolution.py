"""The innermost loops of a convolution of stride 1 that keeps the image's size.

Nothing is padded: a row is cut into a left tile, middle tiles and a right tile. Which columns of the filter fall off
the border is known when a tile's code is generated, and those products are left out; rows that fall off the border are
left out by the bounds of a loop. Filter size K, lanes L and the tile are known when code is generated; channels and
image sizes are ordinary numbers, so that one kernel per filter size serves every architecture.

Arrays are flat and in lanes, [G, H, C, W, L] (see the package); `x_at` and the like are the indices where to begin.
"""

from __future__ import annotations

from collections.abc import Mapping

from numba.core import types

from weightprint.training.fast.emit import Emitter, Value, integers, intrinsic

_FIVE = types.UniTuple(types.int64, 5)
_THREE = types.UniTuple(types.int64, 3)


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
def weight_gradient(typing_context, x, x_at, d, d_at, dw, dw_at, y_first, y_stop, shape, spec):
    """Adds to dw, of some output channels, one input channel and one row of the filter or all of them, the sum over
    pixels and lanes of d · x.

    A small filter is taken whole, so that each value of d that is loaded serves more than a row of it.

    x_at:   of row ky - K // 2, the input channel, pixel 0; ky is the filter's row, or 0 for the whole filter
    d_at:   of row 0, the first output channel, pixel 0
    dw_at:  of the first output channel, the input channel, ky and kx 0
    y_first, y_stop: the rows of d where the filter's row, or all of them, lie on the image
    shape:  input channels, output channels, width
    spec:   L, K, output channels and pixels of a tile, 1 or K rows of the filter
    """
    L, K, channels, pixels, rows = integers(spec)
    reach = K // 2

    def codegen(context, builder, signature, args):
        emit = Emitter(context, builder, x.dtype, L)
        x_data, d_data, dw_data = (emit.begin(kind, args[i], args[i + 1]) for i, kind in ((0, x), (2, d), (4, dw)))
        inputs, outputs, width = emit.unpack(args[8])
        channel_stride = emit.product(width, L)
        x_stride, d_stride = emit.product(inputs, channel_stride), emit.product(outputs, channel_stride)
        cells = [(o, ky, kx) for o in range(channels) for ky in range(rows) for kx in range(K)]
        sums = dict(zip(cells, emit.accumulators(len(cells)), strict=True))

        def tile(x_lines: Mapping[int, Value], d_line: Value, pixel: Value, left: bool, right: bool) -> None:
            at = emit.product(pixel, L)
            x_tiles = {ky: emit.at(line, at) for ky, line in x_lines.items()}
            d_tiles = [emit.at(d_line, emit.index((o, channel_stride), (at,))) for o in range(channels)]
            for p in range(pixels):
                ds = [emit.load(d_tile, p * L) for d_tile in d_tiles]
                for ky, x_tile in x_tiles.items():
                    for kx in range(K):
                        source = p + kx - reach
                        if not _beyond(source, pixels, left, right):
                            value = emit.load(x_tile, source * L)
                            for o in range(channels):
                                emit.accumulate(ds[o], value, sums[o, ky, kx])

        def row(y: Value, filter_rows: range) -> None:
            lines = {ky: emit.at(x_data, emit.product(builder.add(y, emit.number(ky)), x_stride)) for ky in filter_rows}
            d_line = emit.at(d_data, emit.product(y, d_stride))
            emit.tiles(width, pixels, lambda *where: tile(lines, d_line, *where))

        with emit.loop(args[6], args[7]) as y:
            row(y, range(rows))
        if rows > 1:
            for beyond in range(1, reach + 1):  # so many rows of the filter lie above, or below, the image
                row(builder.sub(args[6], emit.number(beyond)), range(beyond, K))
                row(builder.add(args[7], emit.number(beyond - 1)), range(K - beyond))
        for start in range(0, len(cells), L):
            part = cells[start : start + L]
            found = emit.lane_sums([builder.load(sums[cell]) for cell in part])
            for (o, ky, kx), number in zip(part, found, strict=True):
                emit.add_to(dw_data, emit.index((o, inputs, K * K), (ky * K + kx,)), number)
        return context.get_dummy_value()

    integer = types.int64
    return types.void(x, integer, d, integer, dw, integer, integer, integer, _THREE, spec), codegen


def _beyond(source: int, pixels: int, left: bool, right: bool) -> bool:
    """Whether a pixel, counted from the tile's first, lies beyond the image's border."""
    return (left and source < 0) or (right and source >= pixels)
