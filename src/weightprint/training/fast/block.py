"""A convolution with batch normalisation, 2×2 max pooling and activation: forward, backward and in evaluation.

Pooling comes before the affine map of the normalisation and before the activation: both are monotone in each channel,
so the values are the same, and three quarters of the element-wise work fall away. Where gamma is negative the smallest
of four values is pooled. Each pass works on what the one before has left in the nearest cache: two rows are convolved,
pooled and counted; the gradient of one group's output is rebuilt and used twice.

A layer without batch normalisation is one with scale 1, shift b and no share in the statistics of the batch.

Shapes: IC and OC input and output channels, H and W the image that is convolved, h and w the image that is left.

    x [G, H, IC, W, L]   input              out   [G, H, OC, W, L]   the convolution, without its bias
    peaks  [G, h, OC, w, L]  pooled `out`   values [G, h, OC, w, L]  the activation's result, the next layer's x
    found  [4, OC]  mean, 1 / σ, scale and shift of the normalisation
    sums   [4, OC]  gradients of gamma and beta, and slope and offset by which each value of the batch shares in them
"""

from __future__ import annotations

from functools import cache

import numpy as np

from weightprint.training.fast.activation import activated, slope_at
from weightprint.training.fast.cache import compiled
from weightprint.training.fast.choice import Choice
from weightprint.training.fast.convolution import convolve_row, weight_gradient
from weightprint.training.fast.vector import fma, if_above, if_equal, like, load, store, total


def forward_kernel(choice: Choice, filter_size: int):
    """forward(G, IC, OC, H, W, pool, x, w, sign [OC], out, peaks, statistics [G, OC, 2, L])

    Writes out, peaks (unless pool is false), and of each image and channel of `out` the mean and the sum of squared
    distances from it. sign: -1 where gamma is negative, else 1.
    """
    return _forward(choice.lanes, filter_size, *choice.convolution[filter_size])


@cache
def _forward(L, K, channels, pixels):
    spec, reach = (L, K, channels, pixels, 0), K // 2

    @compiled
    def forward(G, IC, OC, H, W, pool, x, w, sign, out, peaks, statistics):
        x_row, out_row, peaks_row = IC * W * L, OC * W * L, OC * W // 2 * L
        shape = (IC, OC, W, IC * K * K, K * K)
        zero, inverse = like(L, x, 0.0), like(L, x, 1 / (2 * W))
        for g in range(G):
            for pair in range(H // 2):
                for y in range(2 * pair, 2 * pair + 2):
                    first, stop = max(0, reach - y), min(K, H + reach - y)
                    at, to = (g * H + y - reach) * x_row, (g * H + y) * out_row
                    convolve_row(x, at, w, out, to, first, stop, shape, spec)
                # Chan, Golub and LeVeque's rule merges the statistics of 2 W more values into those of 2 W pair
                share, weight = like(L, x, 1 / (pair + 1)), like(L, x, 2 * W * pair / (pair + 1))
                for c in range(OC):
                    upper = (g * H + 2 * pair) * out_row + c * W * L
                    lower = upper + out_row
                    s0, s1 = zero, zero
                    for i in range(0, W * L, L):
                        s0 += load(L, out, upper + i)
                        s1 += load(L, out, lower + i)
                    centre = (s0 + s1) * inverse
                    q0, q1 = zero, zero
                    if pool:
                        turn = like(L, x, sign[c])
                        to = (g * (H // 2) + pair) * peaks_row + c * W // 2 * L
                        for i in range(0, W * L, 2 * L):
                            a, b = load(L, out, upper + i), load(L, out, upper + i + L)
                            d, e = load(L, out, lower + i), load(L, out, lower + i + L)
                            da, db, dd, de = a - centre, b - centre, d - centre, e - centre
                            q0 = fma(da, da, fma(db, db, q0))
                            q1 = fma(dd, dd, fma(de, de, q1))
                            a, b, d, e = a * turn, b * turn, d * turn, e * turn
                            a, d = if_above(b, a, b, a), if_above(e, d, e, d)
                            store(peaks, to + i // 2, if_above(d, a, d, a) * turn)
                    else:
                        for i in range(0, W * L, L):
                            a, b = load(L, out, upper + i) - centre, load(L, out, lower + i) - centre
                            q0, q1 = fma(a, a, q0), fma(b, b, q1)
                    at = (g * OC + c) * 2 * L
                    if pair == 0:
                        store(statistics, at, centre)
                        store(statistics, at + L, q0 + q1)
                    else:
                        mean = load(L, statistics, at)
                        apart = centre - mean
                        store(statistics, at, fma(apart, share, mean))
                        store(statistics, at + L, load(L, statistics, at + L) + q0 + q1 + apart * apart * weight)

    return forward


@compiled
def normalisation(
    images, pixels, L, statistics, bias, gamma, beta, moving_mean, moving_variance, momentum, epsilon, found
):
    """Writes `found` from the statistics of the first images, each of so many pixels, and moves the moving statistics
    as torch does: by the share `momentum`, the variance unbiased."""
    channels, count = len(gamma), images * pixels
    for c in range(channels):
        mean = 0.0
        for n in range(images):
            mean += statistics[(n // L * channels + c) * 2 * L + n % L]
        mean /= images
        spread = 0.0
        for n in range(images):
            at = (n // L * channels + c) * 2 * L + n % L
            apart = statistics[at] - mean
            spread += statistics[at + L] + pixels * apart * apart
        variance = spread / count
        moving_mean[c] += momentum * (mean + bias[c] - moving_mean[c])
        moving_variance[c] += momentum * (variance * count / (count - 1) - moving_variance[c])
        inverse = 1 / np.sqrt(variance + epsilon)
        found[0, c], found[1, c] = mean, inverse
        found[2, c], found[3, c] = gamma[c] * inverse, beta[c] - mean * gamma[c] * inverse


@cache
def activate_kernel(L):
    """activate(C, W, activation, x, scale [C], shift [C], out): the activation of x · scale + shift, rows [C, W, L]."""

    @compiled
    def activate(C, W, activation, x, scale, shift, out):
        for start in range(0, len(out), C * W * L):
            for c in range(C):
                s, t = like(L, x, scale[c]), like(L, x, shift[c])
                at = start + c * W * L
                for i in range(at, at + W * L, L):
                    v = fma(load(L, x, i), s, t)
                    store(out, i, activated(v, activation))

    return activate


@cache
def activation_gradient_kernel(L):
    """gradient(G, C, h, w, activation, g, values, peaks, found, count, normalised, sums)

    g [G, h, C, w, L], the gradient of `values`, becomes that before the activation, and `sums` is written; count: how
    many values each mean of the batch is of.
    """

    @compiled
    def gradient(G, C, h, w, activation, g, values, peaks, found, count, normalised, sums):
        zero = like(L, g, 0.0)
        for c in range(C):
            mean, of_gamma, of_beta = like(L, g, found[0, c]), 0.0, 0.0
            for row in range(G * h):
                plain, weighted = zero, zero
                start = (row * C + c) * w * L
                for i in range(start, start + w * L, L):
                    v = load(L, g, i) * slope_at(load(L, values, i), activation)
                    store(g, i, v)
                    plain = plain + v
                    weighted = fma(v, load(L, peaks, i) - mean, weighted)
                of_gamma += total(weighted)
                of_beta += total(plain)
            inverse, scale = found[1, c], found[2, c]
            of_gamma *= inverse
            sums[0, c], sums[1, c] = of_gamma, of_beta
            slope = -scale * inverse * of_gamma / count
            sums[2, c], sums[3, c] = 0.0, 0.0
            if normalised:
                sums[2, c], sums[3, c] = slope, -scale * of_beta / count - slope * found[0, c]

    return gradient


def backward_kernel(choice: Choice, filter_size: int):
    """backward(G, IC, OC, H, W, pool, images, x, w, out, peaks, g, found, sums, mask, scratch, dx, dw, db)

    From g, the gradient before the activation, those of the weights, of the bias and, if `images`, of x. scratch: room
    for the gradient of one group's output, [H, OC, W, L].
    """
    return _backward(choice.lanes, filter_size, *choice.convolution[filter_size], *choice.weights[filter_size])


@cache
def _backward(L, K, channels, pixels, weight_channels, weight_pixels):
    reach = K // 2
    turned, weights = (L, K, channels, pixels, 1), (L, K, weight_channels, weight_pixels)

    @compiled
    def backward(G, IC, OC, H, W, pool, images, x, w, out, peaks, g, found, sums, mask, scratch, dx, dw, db):
        x_row, out_row = IC * W * L, OC * W * L
        shape, turned_shape = (IC, OC, H, W), (OC, IC, W, K * K, IC * K * K)
        zero = like(L, x, 0.0)
        dw[:] = 0
        db[:] = 0
        for group in range(G):
            real = load(L, mask, group * L)
            for c in range(OC):
                scale = like(L, x, found[2, c])
                slope, offset = like(L, x, sums[2, c]) * real, like(L, x, sums[3, c]) * real
                bias0, bias1 = zero, zero
                if pool:
                    for pair in range(H // 2):
                        at = 2 * pair * out_row + c * W * L
                        start = group * H * out_row + at
                        source = ((group * (H // 2) + pair) * OC + c) * (W // 2) * L
                        for i in range(0, W * L, 2 * L):
                            # the gradient goes to the first of the four values that is the peak; all four are
                            # loaded before any is stored, as rows lie where they get into each other's way
                            peak = load(L, peaks, source + i // 2)
                            rest = load(L, g, source + i // 2) * scale
                            v0, v1 = load(L, out, start + i), load(L, out, start + i + L)
                            v2 = load(L, out, start + out_row + i)
                            v3 = load(L, out, start + out_row + i + L)
                            r0 = fma(v0, slope, offset) + if_equal(v0, peak, rest, zero)
                            rest = if_equal(v0, peak, zero, rest)
                            r1 = fma(v1, slope, offset) + if_equal(v1, peak, rest, zero)
                            rest = if_equal(v1, peak, zero, rest)
                            r2 = fma(v2, slope, offset) + if_equal(v2, peak, rest, zero)
                            rest = if_equal(v2, peak, zero, rest)
                            r3 = fma(v3, slope, offset) + if_equal(v3, peak, rest, zero)
                            bias0, bias1 = bias0 + (r0 + r2), bias1 + (r1 + r3)
                            store(scratch, at + i, r0)
                            store(scratch, at + i + L, r1)
                            store(scratch, at + out_row + i, r2)
                            store(scratch, at + out_row + i + L, r3)
                else:
                    for y in range(H):
                        at = y * out_row + c * W * L
                        start = group * H * out_row + at
                        for i in range(0, W * L, L):
                            r = fma(load(L, g, start + i), scale, fma(load(L, out, start + i), slope, offset))
                            store(scratch, at + i, r)
                            bias0 = bias0 + r
                db[c] += total(bias0 + bias1)
            weight_gradient(x, group * H * x_row, scratch, dw, shape, weights)
            if images:
                for y in range(H):
                    first, stop = max(0, reach - y), min(K, H + reach - y)
                    at = (group * H + y) * x_row
                    convolve_row(scratch, (y - reach) * out_row, w, dx, at, first, stop, turned_shape, turned)

    return backward


def evaluate_kernel(choice: Choice, filter_size: int):
    """evaluate(G, IC, OC, H, W, pool, activation, x, w, scale, shift, scratch [2, OC, W, L], values)

    Convolution, affine map, pool and activation in one pass, with the statistics that were moved along in training.
    """
    return _evaluate(choice.lanes, filter_size, *choice.convolution[filter_size])


@cache
def _evaluate(L, K, channels, pixels):
    spec, reach = (L, K, channels, pixels, 0), K // 2

    @compiled
    def evaluate(G, IC, OC, H, W, pool, activation, x, w, scale, shift, scratch, values):
        x_row, out_row = IC * W * L, OC * W * L
        shape = (IC, OC, W, IC * K * K, K * K)
        high = 2 if pool else 1
        for g in range(G):
            for band in range(H // high):
                for line in range(high):
                    y = high * band + line
                    first, stop = max(0, reach - y), min(K, H + reach - y)
                    at = (g * H + y - reach) * x_row
                    convolve_row(x, at, w, scratch, line * out_row, first, stop, shape, spec)
                for c in range(OC):
                    s, t = like(L, x, scale[c]), like(L, x, shift[c])
                    to = ((g * (H // high) + band) * OC + c) * (W // high) * L
                    at = c * W * L
                    for i in range(0, W // high * L, L):
                        if pool:
                            j = at + 2 * i
                            v, b = fma(load(L, scratch, j), s, t), fma(load(L, scratch, j + L), s, t)
                            d = fma(load(L, scratch, j + out_row), s, t)
                            e = fma(load(L, scratch, j + out_row + L), s, t)
                            v, d = if_above(b, v, b, v), if_above(e, d, e, d)
                            v = if_above(d, v, d, v)
                        else:
                            v = fma(load(L, scratch, at + i), s, t)
                        store(values, to + i, activated(v, activation))

    return evaluate
