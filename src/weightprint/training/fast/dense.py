"""Fully connected layers and the loss, on features [F, N]: a row is one feature of all images, in lanes.

Flat arrays. F and J are a layer's output and input features, N the images, filled up to whole vectors; `mask` [N] is 1
for images of the batch and 0 for the copies that fill it up, `images` how many there are of the former.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba.core import types

from weightprint.training.fast.activation import activated, slope_at
from weightprint.training.fast.cache import compiled
from weightprint.training.fast.choice import Choice
from weightprint.training.fast.emit import Emitter, integers, intrinsic
from weightprint.training.fast.vector import expm1, fma, if_above, like, load, store, total

_FIVE = types.UniTuple(types.int64, 5)
_TWO = types.UniTuple(types.int64, 2)


@intrinsic(prefer_literal=True)
def _product_tile(typing_context, a, a_at, b, b_at, c, c_at, shape, spec):
    """Some rows and vectors of c = a · b.

    shape: how many columns a has, how far its rows and its columns are apart, and the rows of b and of c
    spec:  L, rows, vectors
    """
    L, rows, vectors = integers(spec)

    def codegen(context, builder, signature, args):
        emit = Emitter(context, builder, a.dtype, L)
        a_data, b_data, c_data = (emit.begin(kind, args[i], args[i + 1]) for i, kind in ((0, a), (2, b), (4, c)))
        count, a_row, a_column, b_row, c_row = emit.unpack(args[6])
        sums = [emit.accumulators(vectors) for _ in range(rows)]
        a_rows = [emit.at(a_data, emit.product(r, a_row)) for r in range(rows)]
        with emit.loop(0, count) as k:
            line, at = emit.at(b_data, emit.product(k, b_row)), emit.product(k, a_column)
            values = [emit.load(line, v * L) for v in range(vectors)]
            for r in range(rows):
                factor = emit.broadcast(a_rows[r], at)
                for v in range(vectors):
                    emit.accumulate(factor, values[v], sums[r][v])
        for r in range(rows):
            target = emit.at(c_data, emit.product(r, c_row))
            for v in range(vectors):
                emit.store(builder.load(sums[r][v]), target, v * L)
        return context.get_dummy_value()

    return types.void(a, types.int64, b, types.int64, c, types.int64, _FIVE, spec), codegen


def product_kernel(choice: Choice):
    """product(M, N, K, a_row, a_column, a, b [K, N], c [M, N]): c = a · b.

    a_row, a_column: how far the rows and the columns of a are apart
    """
    return _product(choice.lanes, *choice.product)


@cache
def _product(L, rows, vectors):
    tile, low, narrow, single = (L, rows, vectors), (L, 1, vectors), (L, rows, 1), (L, 1, 1)

    @compiled
    def product(M, N, K, a_row, a_column, a, b, c):
        shape = (K, a_row, a_column, N, N)
        wide, high = N - N % (vectors * L), M - M % rows
        for n in range(0, wide, vectors * L):
            for m in range(0, high, rows):
                _product_tile(a, m * a_row, b, n, c, m * N + n, shape, tile)
            for m in range(high, M):
                _product_tile(a, m * a_row, b, n, c, m * N + n, shape, low)
        for n in range(wide, N, L):
            for m in range(0, high, rows):
                _product_tile(a, m * a_row, b, n, c, m * N + n, shape, narrow)
            for m in range(high, M):
                _product_tile(a, m * a_row, b, n, c, m * N + n, shape, single)

    return product


@intrinsic(prefer_literal=True)
def _dot_tile(typing_context, a, a_at, b, b_at, c, c_at, shape, spec):
    """c[r, s] = the sum over n of a[r, n] · b[s, n] for some r and s.

    shape: N, how far the rows of c are apart
    spec:  L, how many r and s
    """
    L, rows, columns = integers(spec)

    def codegen(context, builder, signature, args):
        emit = Emitter(context, builder, a.dtype, L)
        a_data, b_data, c_data = (emit.begin(kind, args[i], args[i + 1]) for i, kind in ((0, a), (2, b), (4, c)))
        count, c_row = emit.unpack(args[6])
        cells = [(r, s) for r in range(rows) for s in range(columns)]
        sums = dict(zip(cells, emit.accumulators(len(cells)), strict=True))
        with emit.loop(0, count, L) as n:
            lefts = [emit.load(a_data, emit.index((r, count), (n,))) for r in range(rows)]
            for s in range(columns):
                right = emit.load(b_data, emit.index((s, count), (n,)))
                for r in range(rows):
                    emit.accumulate(lefts[r], right, sums[r, s])
        for start in range(0, len(cells), L):
            part = cells[start : start + L]
            found = emit.lane_sums([builder.load(sums[cell]) for cell in part])
            for (r, s), number in zip(part, found, strict=True):
                builder.store(number, emit.at(c_data, emit.index((r, c_row), (s,))), align=4)
        return context.get_dummy_value()

    return types.void(a, types.int64, b, types.int64, c, types.int64, _TWO, spec), codegen


def dot_kernel(choice: Choice):
    """dot(F, J, N, d [F, N], x [J, N], dw [F, J]): dw = d · x', the gradient of a layer's weights."""
    return _dot(choice.lanes, *choice.dot)


@cache
def _dot(L, rows, columns):
    tile, low, narrow, single = (L, rows, columns), (L, 1, columns), (L, rows, 1), (L, 1, 1)

    @compiled
    def dot(F, J, N, d, x, dw):
        shape = (N, J)
        wide, high = J - J % columns, F - F % rows
        for f in range(0, high, rows):
            for i in range(0, wide, columns):
                _dot_tile(d, f * N, x, i * N, dw, f * J + i, shape, tile)
            for i in range(wide, J):
                _dot_tile(d, f * N, x, i * N, dw, f * J + i, shape, narrow)
        for f in range(high, F):
            for i in range(0, wide, columns):
                _dot_tile(d, f * N, x, i * N, dw, f * J + i, shape, low)
            for i in range(wide, J):
                _dot_tile(d, f * N, x, i * N, dw, f * J + i, shape, single)

    return dot


@cache
def hidden_forward_kernel(L):
    """hidden(F, N, images, activation, normalised, z, bias, gamma, beta, moving_mean, moving_variance, momentum,
    epsilon, mask, random, apart, keep, found [3, F], out)

    After the matrix product: z [F, N] becomes the activation of z + bias, `out` that normalised and with dropout: what
    is kept is where random < keep, its rows `apart` numbers apart. found: mean, 1 / σ and scale.
    """

    @compiled
    def hidden(
        F, N, images, activation, normalised, z, bias, gamma, beta, moving_mean, moving_variance, momentum, epsilon,
        mask, random, apart, keep, found, out,
    ):  # fmt: skip
        zero, share, larger = like(L, z, 0.0), like(L, z, keep), like(L, z, 1 / keep)
        for f in range(F):
            shift, s = like(L, z, bias[f]), zero
            for i in range(0, N, L):
                v = activated(load(L, z, f * N + i) + shift, activation)
                store(z, f * N + i, v)
                s = fma(v, load(L, mask, i), s)
            mean, inverse, scale, offset = 0.0, 1.0, 1.0, 0.0
            if normalised:
                mean = total(s) / images
                centre, s = like(L, z, mean), zero
                for i in range(0, N, L):
                    d = (load(L, z, f * N + i) - centre) * load(L, mask, i)
                    s = fma(d, d, s)
                variance = total(s) / images
                moving_mean[f] += momentum * (mean - moving_mean[f])
                moving_variance[f] += momentum * (variance * images / (images - 1) - moving_variance[f])
                inverse = 1 / np.sqrt(variance + epsilon)
                scale, offset = gamma[f] * inverse, beta[f]
            found[0, f], found[1, f], found[2, f] = mean, inverse, scale
            centre, factor, addend = like(L, z, mean), like(L, z, scale), like(L, z, offset)
            for i in range(0, N, L):
                v = fma(load(L, z, f * N + i) - centre, factor, addend)
                store(out, f * N + i, if_above(share, load(L, random, f * apart + i), v * larger, zero))

    return hidden


@cache
def hidden_backward_kernel(L):
    """hidden(F, N, images, activation, normalised, d, z, mask, random, apart, keep, found, of_gamma, of_beta, of_bias)

    d [F, N], the gradient of what `hidden_forward_kernel` calls out, becomes that before the activation.
    """

    @compiled
    def hidden(
        F, N, images, activation, normalised, d, z, mask, random, apart, keep, found, of_gamma, of_beta, of_bias
    ):
        zero, share, larger = like(L, d, 0.0), like(L, d, keep), like(L, d, 1 / keep)
        for f in range(F):
            mean, plain, weighted = like(L, d, found[0, f]), zero, zero
            for i in range(0, N, L):
                v = if_above(share, load(L, random, f * apart + i), load(L, d, f * N + i) * larger, zero)
                store(d, f * N + i, v)
                plain = plain + v
                weighted = fma(v, load(L, z, f * N + i) - mean, weighted)
            slope, offset = 0.0, 0.0
            if normalised:
                of_beta[f] = total(plain)
                of_gamma[f] = total(weighted) * found[1, f]
                slope = -found[2, f] * found[1, f] * of_gamma[f] / images
                offset = -found[2, f] * of_beta[f] / images
            factor, addend, scale, s = like(L, d, slope), like(L, d, offset), like(L, d, found[2, f]), zero
            for i in range(0, N, L):
                value, real = load(L, z, f * N + i), load(L, mask, i)
                v = fma(load(L, d, f * N + i), scale, fma(value - mean, factor, addend) * real)
                v = v * slope_at(value, activation)
                store(d, f * N + i, v)
                s = s + v
            of_bias[f] = total(s)

    return hidden


@cache
def hidden_evaluate_kernel(L):
    """hidden(F, N, activation, z [F, N], bias, scale, shift, out): out = activation(z + bias) · scale + shift."""

    @compiled
    def hidden(F, N, activation, z, bias, scale, shift, out):
        for f in range(F):
            b, s, t = like(L, z, bias[f]), like(L, z, scale[f]), like(L, z, shift[f])
            for i in range(f * N, f * N + N, L):
                store(out, i, fma(activated(load(L, z, i) + b, activation), s, t))

    return hidden


@cache
def loss_kernel(L):
    """loss(F, N, images, z, bias, labels [N], mask, of_bias [F], room [L], found [2])

    found: the sum of the cross-entropies of scores z [F, N] + bias, and how many are right, the first of equal scores
    taken; z becomes the gradient of the mean cross-entropy, of_bias its sum over images.
    """

    @compiled
    def loss(F, N, images, z, bias, labels, mask, of_bias, room, found):
        zero, one = like(L, z, 0.0), like(L, z, 1.0)
        entropy, right = 0.0, 0
        for i in range(0, N, L):
            top = load(L, z, i) + like(L, z, bias[0])
            store(z, i, top)
            for f in range(1, F):
                v = load(L, z, f * N + i) + like(L, z, bias[f])
                store(z, f * N + i, v)
                top = if_above(v, top, v, top)
            share = load(L, mask, i) * like(L, z, 1 / images)
            sums = zero
            for f in range(F):
                v = load(L, z, f * N + i) - top
                store(z, f * N + i, v)
                sums = sums + (expm1(v) + one)
            store(room, 0, sums)
            for n in range(i, min(i + L, images)):
                best = 0
                for f in range(1, F):
                    if z[f * N + n] > z[best * N + n]:
                        best = f
                entropy += np.log(np.float64(room[n - i])) - z[labels[n] * N + n]
                right += best == labels[n]
            share = share / sums
            for f in range(F):
                store(z, f * N + i, (expm1(load(L, z, f * N + i)) + one) * share)
        for n in range(images):
            z[labels[n] * N + n] -= 1 / images
        for f in range(F):
            s = zero
            for i in range(f * N, f * N + N, L):
                s = s + load(L, z, i)
            of_bias[f] = total(s)
        found[0], found[1] = entropy, right

    return loss


@cache
def flatten_kernel(L):
    """flatten(G, H, C, W, back, x, features): images [G, H, C, W, L] as features [(h, w, c), G · L], or back."""

    @compiled
    def flatten(G, H, C, W, back, x, features):
        for g in range(G):
            for h in range(H):
                for c in range(C):
                    for w in range(W):
                        i = (((g * H + h) * C + c) * W + w) * L
                        j = ((h * W + w) * C + c) * G * L + g * L
                        if back:
                            store(x, i, load(L, features, j))
                        else:
                            store(features, j, load(L, x, i))

    return flatten
