"""`weightprint.images.augment` in lanes and straight from bytes: the same changes from the same random numbers.

First each image is warped on its own: it is copied, four numbers a pixel, into a frame of zeros, so that a source
position beyond the border reads zeros without a question asked, and the three channels of a pixel are one load. Then
colours are changed for L images at once.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba.extending import register_jitable

from weightprint.images.augment import SMALLEST_SPREAD
from weightprint.setups import IMAGE_CHANNELS, IMAGE_SIDE
from weightprint.training.fast.cache import compiled
from weightprint.training.fast.vector import copysign, floor, fma, if_above, lane, like, load, store

_WIDE = IMAGE_SIDE + 3
"""Pixels of a row in the frame: one of zeros on the left, two on the right."""

FRAME = _WIDE * _WIDE * 4
"""How many numbers the frame has."""


@compiled
def warp(L, images, starts, maps, shades, frame, out):
    """Bytes of the images that begin at starts [N] into lanes, each moved by its map [N, 3, 2], bilinear.

    maps:   see `weightprint.images.augment.source_maps`
    shades: [256] what number each byte stands for
    frame:  [FRAME] zeros; left with the last image in it
    """
    kind = out.dtype.type
    centre, one = kind((IMAGE_SIDE - 1) / 2), kind(1)
    low, high = kind(-1), kind(IMAGE_SIDE)
    row = IMAGE_SIDE * L
    for n in range(len(starts)):
        image = images[starts[n] : starts[n] + IMAGE_SIDE * IMAGE_SIDE * IMAGE_CHANNELS]
        for y in range(IMAGE_SIDE):
            source = image[y * IMAGE_SIDE * IMAGE_CHANNELS : (y + 1) * IMAGE_SIDE * IMAGE_CHANNELS]
            target = frame[((y + 1) * _WIDE + 1) * 4 : ((y + 1) * _WIDE + 1 + IMAGE_SIDE) * 4]
            for x in range(IMAGE_SIDE):
                target[4 * x] = shades[source[3 * x]]
                target[4 * x + 1] = shades[source[3 * x + 1]]
                target[4 * x + 2] = shades[source[3 * x + 2]]
        right_x, right_y = kind(maps[n, 0, 0]), kind(maps[n, 0, 1])
        down_x, down_y = kind(maps[n, 1, 0]), kind(maps[n, 1, 1])
        from_x, from_y = kind(maps[n, 2, 0]) + centre, kind(maps[n, 2, 1]) + centre
        to = n // L * IMAGE_SIDE * IMAGE_CHANNELS * row + n % L
        for y in range(IMAGE_SIDE):
            line_x, line_y = down_x * (kind(y) - centre) + from_x, down_y * (kind(y) - centre) + from_y
            for x in range(IMAGE_SIDE):
                source_x = right_x * (kind(x) - centre) + line_x
                source_y = right_y * (kind(x) - centre) + line_y
                source_x = low if source_x < low else high if source_x > high else source_x
                source_y = low if source_y < low else high if source_y > high else source_y
                left, top = np.int64(source_x + one), np.int64(source_y + one)  # in the frame; cut off, not negative
                share_x, share_y = source_x + one - kind(left), source_y + one - kind(top)
                at = (top * _WIDE + left) * 4
                upper = load(4, frame, at)
                upper = fma(load(4, frame, at + 4) - upper, like(4, frame, share_x), upper)
                lower = load(4, frame, at + 4 * _WIDE)
                lower = fma(load(4, frame, at + 4 * _WIDE + 4) - lower, like(4, frame, share_x), lower)
                mixed = fma(lower - upper, like(4, frame, share_y), upper)
                place = to + y * IMAGE_CHANNELS * row + x * L
                out[place] = lane(mixed, 0)
                out[place + row] = lane(mixed, 1)
                out[place + 2 * row] = lane(mixed, 2)


@register_jitable(inline="always")
def _cut(v, low, high):
    v = if_above(v, low, v, low)
    return if_above(high, v, v, high)


@register_jitable(inline="always")
def _magnitude(v, zero):
    return if_above(v, zero, v, zero - v)


@cache
def recolour_kernel(L):
    """recolour(B, brightness, contrast, hue, saturation, deviation, noise, images)

    images [G, H, C, W, L], of which B are counted: brightness, contrast, hue, saturation and noise, as
    `weightprint.images.augment` has them, changed in place and cut to [0, 1].
    noise: normal random numbers [H, C, W, B], followed by at least L more numbers, all float32
    """

    @compiled
    def recolour(B, brightness, contrast, hue, saturation, deviation, noise, images):
        zero, one, two, six = like(L, images, 0), like(L, images, 1), like(L, images, 2), like(L, images, 6)
        share, factor = like(L, images, (1 - contrast) / IMAGE_SIDE**2), like(L, images, contrast)
        brighter, turn, vivid = like(L, images, brightness), like(L, images, 6 * hue), like(L, images, saturation)
        strength, least = like(L, images, deviation), like(L, images, SMALLEST_SPREAD)
        row = IMAGE_SIDE * L
        for first in range(0, B, L):
            start = first * IMAGE_SIDE * IMAGE_CHANNELS * IMAGE_SIDE
            red_mean, green_mean, blue_mean = zero, zero, zero
            for y in range(IMAGE_SIDE):
                at = start + y * IMAGE_CHANNELS * row
                for i in range(at, at + row, L):
                    red_mean += load(L, images, i)
                    green_mean += load(L, images, i + row)
                    blue_mean += load(L, images, i + 2 * row)
            red_mean = fma(red_mean, share, brighter)
            green_mean = fma(green_mean, share, brighter)
            blue_mean = fma(blue_mean, share, brighter)
            for y in range(IMAGE_SIDE):
                for x in range(IMAGE_SIDE):
                    at = start + y * IMAGE_CHANNELS * row + x * L
                    red = fma(load(L, images, at), factor, red_mean)
                    green = fma(load(L, images, at + row), factor, green_mean)
                    blue = fma(load(L, images, at + 2 * row), factor, blue_mean)
                    value = if_above(red, green, red, green)
                    value = if_above(value, blue, value, blue)
                    lowest = if_above(green, red, red, green)
                    lowest = if_above(blue, lowest, lowest, blue)
                    spread = value - lowest
                    sixths = (green - red + (blue - value)) / if_above(spread, least, spread, least) + two
                    sixths = copysign(sixths, green - blue) + turn
                    sixths = sixths - six * floor(sixths / six)
                    spread, bound = spread * vivid, if_above(value, zero, value, zero)
                    spread = if_above(spread, bound, bound, spread)
                    for c in range(IMAGE_CHANNELS):
                        if c == 0:
                            apart = two - _magnitude(sixths - like(L, images, 3), zero)
                        else:
                            apart = _magnitude(sixths - like(L, images, 2 * c), zero) - one
                        changed = value - spread * _cut(apart, zero, one)
                        grain = load(L, noise, ((y * IMAGE_CHANNELS + c) * IMAGE_SIDE + x) * B + first)
                        store(images, at + c * row, _cut(fma(grain, strength, changed), zero, one))

    return recolour
