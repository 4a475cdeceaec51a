"""Batch normalisation, 2×2 max pooling and their gradients as single passes over memory, compiled for the processor.

Values are [B, H, W, C], contiguous, float32 or float64: a row of an image is one stretch of W · C lanes, which the
compiler turns into vector instructions. Sums run lane by lane over the rows of one image in the values' own precision,
then over images in float64. The order of every sum is fixed, so equal inputs give equal bits. Loops are cut so that
each writes one array and reads few: more, and the compiler cannot tell that they do not overlap.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

ACTIVATIONS = ("relu", "elu", "sigmoid", "tanh")
"""The numbers by which `activation_gradient` knows them."""

CHANNELS = 4
"""Channels must be a multiple of this: places are copied as words of four."""

_compiled: Any = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})


@_compiled
def _widen(values, lanes):
    """Values per channel [C] for every lane of a row [lanes]."""
    wide = np.empty(lanes, values.dtype)
    for i in range(lanes):
        wide[i] = values[i % len(values)]
    return wide


@_compiled
def normalisation(x, gamma, beta, moving_mean, moving_variance, momentum, epsilon, found):
    """What batch normalisation makes of x [B, H, W, C]: `found` [4, C] is mean, 1 / σ, scale and shift.

    Moves the moving statistics [C] as torch does: by the share `momentum`, the variance unbiased.
    """
    images, height, width, channels = x.shape
    lanes = width * channels
    pixels = height * width
    rows = x.reshape(images, height, lanes)
    sums, squares, centre = np.empty(lanes, x.dtype), np.empty(lanes, x.dtype), np.empty(lanes, x.dtype)
    means, spreads = np.zeros((images, channels)), np.zeros(channels)
    for b in range(images):
        sums[:] = 0
        for h in range(height):
            row = rows[b, h]
            for i in range(lanes):
                sums[i] += row[i]
        for i in range(lanes):
            means[b, i % channels] += sums[i]
        for c in range(channels):
            means[b, c] /= pixels
        for i in range(lanes):
            centre[i] = means[b, i % channels]
        squares[:] = 0
        for h in range(height):
            row = rows[b, h]
            for i in range(lanes):
                difference = row[i] - centre[i]
                squares[i] += difference * difference
        for i in range(lanes):
            spreads[i % channels] += squares[i]
    count = images * pixels
    for c in range(channels):
        mean = means[:, c].mean()
        variance = (spreads[c] + pixels * ((means[:, c] - mean) ** 2).sum()) / count
        moving_mean[c] += momentum * (mean - moving_mean[c])
        moving_variance[c] += momentum * (variance * count / (count - 1) - moving_variance[c])
        inverse = 1 / np.sqrt(variance + epsilon)
        found[0, c], found[1, c] = mean, inverse
        found[2, c], found[3, c] = gamma[c] * inverse, beta[c] - mean * gamma[c] * inverse


@_compiled
def max_pool(x, scale, peaks, places):
    """The values of each 2×2 window of x that are largest after a multiplication by `scale` [C], and which they are.

    peaks, places: [B, H/2, W/2, C]; places int8 from 0 to 3, row by row, the first of equal values
    """
    images, height, width, channels = x.shape
    lanes = width * channels
    rows = x.reshape(images, height, lanes)
    sign = _widen(np.where(scale < 0, -1, 1).astype(x.dtype), lanes)
    # Windows begin at every second pixel; comparing at every pixel and copying every second costs less than gathering.
    best, place = np.empty(lanes, x.dtype), np.empty(lanes, np.int8)
    words, marks = channels * x.itemsize // 8, channels // 4
    best_words, place_words = best.view(np.int64), place.view(np.int32)
    peak_words = peaks.reshape(images, height // 2, lanes // 2).view(np.int64)
    mark_words = places.reshape(images, height // 2, lanes // 2).view(np.int32)
    for b in range(images):
        for h in range(height // 2):
            upper, lower = rows[b, 2 * h], rows[b, 2 * h + 1]
            for i in range(lanes - channels):
                a0, a1 = upper[i] * sign[i], upper[i + channels] * sign[i]
                a2, a3 = lower[i] * sign[i], lower[i + channels] * sign[i]
                first = a1 if a1 > a0 else a0
                second = a3 if a3 > a2 else a2
                first_place = np.int8(1) if a1 > a0 else np.int8(0)
                second_place = np.int8(3) if a3 > a2 else np.int8(2)
                best[i] = (second if second > first else first) * sign[i]
                place[i] = second_place if second > first else first_place
            to, marks_to = peak_words[b, h], mark_words[b, h]
            for w in range(width // 2):
                for c in range(words):
                    to[w * words + c] = best_words[2 * w * words + c]
                for c in range(marks):
                    marks_to[w * marks + c] = place_words[2 * w * marks + c]


@_compiled
def affine(x, scale, shift, out):
    """out = x · scale + shift, with one scale and shift per channel [C]; x and out [B, H, W, C]."""
    images, height, width, channels = x.shape
    lanes = width * channels
    rows, to = x.reshape(images * height, lanes), out.reshape(images * height, lanes)
    wide_scale, wide_shift = _widen(scale, lanes), _widen(shift, lanes)
    for h in range(images * height):
        row, result = rows[h], to[h]
        for i in range(lanes):
            result[i] = row[i] * wide_scale[i] + wide_shift[i]


@_compiled
def activation_gradient(gradient, out, activation, peaks, found, count, before, sums):
    """From the gradient after the activation to that before it, and what batch normalisation needs of it.

    gradient, out, peaks, before: [B, H, W, C]; out is the activation's result, peaks what was normalised; `before`
        is written
    activation: its number in ACTIVATIONS
    found:  [4, C] of `normalisation`; count: how many values each mean is of
    sums:   [4, C], written: gradients of gamma and beta, and the slope and offset by which `spread` lets every value
        of the batch share in them
    """
    images, height, width, channels = gradient.shape
    lanes = width * channels
    gradients, outs = gradient.reshape(images, height, lanes), out.reshape(images, height, lanes)
    befores, values = before.reshape(images, height, lanes), peaks.reshape(images, height, lanes)
    mean = _widen(found[0], lanes)
    plain, weighted = np.empty(lanes, gradient.dtype), np.empty(lanes, gradient.dtype)
    of_gamma, of_beta = np.zeros(channels), np.zeros(channels)
    zero, one = gradient.dtype.type(0), gradient.dtype.type(1)
    for b in range(images):
        plain[:] = 0
        weighted[:] = 0
        for h in range(height):
            given, o, g, value = gradients[b, h], outs[b, h], befores[b, h], values[b, h]
            if activation == 0:
                for i in range(lanes):
                    g[i] = given[i] if o[i] > zero else zero
            elif activation == 1:
                for i in range(lanes):
                    g[i] = given[i] * (one if o[i] > zero else o[i] + one)
            elif activation == 2:
                for i in range(lanes):
                    g[i] = given[i] * (o[i] * (one - o[i]))
            else:
                for i in range(lanes):
                    g[i] = given[i] * (one - o[i] * o[i])
            for i in range(lanes):
                plain[i] += g[i]
                weighted[i] += g[i] * (value[i] - mean[i])
        for i in range(lanes):
            of_beta[i % channels] += plain[i]
            of_gamma[i % channels] += weighted[i]
    for c in range(channels):
        inverse, scale = found[1, c], found[2, c]
        of_gamma[c] *= inverse
        slope = -scale * inverse * of_gamma[c] / count
        sums[0, c], sums[1, c] = of_gamma[c], of_beta[c]
        sums[2, c], sums[3, c] = slope, -scale * of_beta[c] / count - slope * found[0, c]


@_compiled
def spread(x, before, places, pooled, scale, slope, offset, out):
    """The gradient of x [B, H, W, C]: x · slope + offset, and scale · before at the places that were pooled.

    before, places: [B, H/2, W/2, C] where `pooled`; else before is [B, H, W, C] and places is not read
    """
    images, height, width, channels = x.shape
    lanes = width * channels
    rows, results = x.reshape(images, height, lanes), out.reshape(images, height, lanes)
    wide_scale, wide_slope, wide_offset = _widen(scale, lanes), _widen(slope, lanes), _widen(offset, lanes)
    high, across = (height // 2, lanes // 2) if pooled else (height, lanes)
    sources = before.reshape(images, high, across)
    if not pooled:
        for b in range(images):
            for h in range(height):
                row, result, source = rows[b, h], results[b, h], sources[b, h]
                for i in range(lanes):
                    result[i] = row[i] * wide_slope[i] + wide_offset[i] + source[i] * wide_scale[i]
        return
    words, marks = channels * x.itemsize // 8, channels // 4
    wide, here, place = np.empty(lanes, x.dtype), np.empty(lanes, x.dtype), np.empty(lanes, np.int8)
    right = np.empty(lanes, np.int8)  # 1 in every second pixel
    for i in range(lanes):
        right[i] = (i // channels) % 2
    source_words, wide_words = sources.view(np.int64), wide.view(np.int64)
    mark_words, place_words = places.reshape(images, high, across).view(np.int32), place.view(np.int32)
    zero, two = x.dtype.type(0), np.int8(2)
    for b in range(images):
        for h in range(high):
            source, mark = source_words[b, h], mark_words[b, h]
            for w in range(width // 2):
                for c in range(words):
                    wide_words[2 * w * words + c] = source[w * words + c]
                    wide_words[2 * w * words + words + c] = source[w * words + c]
                for c in range(marks):
                    place_words[2 * w * marks + c] = mark[w * marks + c]
                    place_words[2 * w * marks + marks + c] = mark[w * marks + c]
            for i in range(lanes):
                wide[i] *= wide_scale[i]
            for lower in range(2):
                for i in range(lanes):
                    here[i] = wide[i] if place[i] == right[i] else zero
                row, result = rows[b, 2 * h + lower], results[b, 2 * h + lower]
                for i in range(lanes):
                    result[i] = row[i] * wide_slope[i] + wide_offset[i] + here[i]
                if lower == 0:
                    for i in range(lanes):
                        place[i] -= two
