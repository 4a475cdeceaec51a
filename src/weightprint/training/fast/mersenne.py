"""The random numbers that a generator of torch draws on the CPU, by compiled code: several times as fast.

Uniform ones are the same to the last bit, normal ones to rounding. The generator is the Mersenne Twister (Matsumoto and
Nishimura, "Mersenne Twister", 1998), the normal numbers are Box and Muller's, from two uniform ones for two.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable

from weightprint.training.fast.cache import compiled
from weightprint.training.fast.vector import constant, copysign, floor, fma, if_above, if_equal, load, log, sqrt, store

_SIZE, _APART = 624, 397


class Mersenne:
    """What torch.Generator().manual_seed(seed) draws."""

    def __init__(self, seed: int) -> None:
        self._state = np.empty(_SIZE, np.uint32)
        self._next = np.array([_SIZE])  # of the state's numbers that are not used yet
        _begin(seed & 0xFFFFFFFF, self._state)

    def units(self, out: np.ndarray) -> np.ndarray:
        """Fills out, float32, as torch.rand does: uniform in [0, 1)."""
        _units(self._state, self._next, out)
        return out

    def normals(self, out: np.ndarray) -> np.ndarray:
        """Fills out, float32 and a multiple of 16 numbers, as torch.randn does."""
        box_muller(self.units(out))
        return out


@compiled
def _begin(seed, state):
    number = seed
    for i in range(len(state)):
        state[i] = number
        number = (1812433253 * (number ^ (number >> 30)) + i + 1) & 0xFFFFFFFF


@register_jitable(inline="always")
def _twisted(number, following, distant):
    mixed = (number & np.uint32(0x80000000)) | (following & np.uint32(0x7FFFFFFF))
    return distant ^ (mixed >> np.uint32(1)) ^ ((mixed & np.uint32(1)) * np.uint32(0x9908B0DF))


@compiled
def _units(state, following, out):
    at, done = following[0], 0
    while done < len(out):
        if at == _SIZE:
            for i in range(_SIZE - _APART):
                state[i] = _twisted(state[i], state[i + 1], state[i + _APART])
            for i in range(_APART - 1):
                j = i + _SIZE - _APART
                state[j] = _twisted(state[j], state[j + 1], state[i])
            state[_SIZE - 1] = _twisted(state[_SIZE - 1], state[0], state[_APART - 1])
            at = 0
        count = min(_SIZE - at, len(out) - done)
        some, target = state[at : at + count], out[done : done + count]
        for i in range(count):
            number = some[i]
            number ^= number >> np.uint32(11)
            number ^= (number << np.uint32(7)) & np.uint32(0x9D2C5680)
            number ^= (number << np.uint32(15)) & np.uint32(0xEFC60000)
            number ^= number >> np.uint32(18)
            target[i] = np.float32(np.int32(number & np.uint32(0xFFFFFF))) * np.float32(2**-24)
        at, done = at + count, done + count
    following[0] = at


@compiled
def box_muller(values):
    """Normal numbers from uniform ones: the first eight of sixteen say distances, the others directions."""
    for i in range(0, len(values) - 15, 16):
        first, turns = load(8, values, i), load(8, values, i + 8)
        distance = sqrt(constant(first, -2.0) * log(constant(first, 1.0) - first))
        cosine, sine = _cosine_and_sine(turns)
        store(values, i, distance * cosine)
        store(values, i + 8, distance * sine)


@register_jitable(inline="always")
def _cosine_and_sine(turns):
    """Of an angle in turns, in [0, 1]: from the nearest quarter by Taylor's series, then turned by quarters."""
    zero, one, half = constant(turns, 0.0), constant(turns, 1.0), constant(turns, 0.5)
    quarter = floor(fma(turns, constant(turns, 4.0), half))
    angle = fma(quarter, constant(turns, -0.25), turns) * constant(turns, 2 * math.pi)
    square = angle * angle
    even = fma(square, constant(turns, 1 / 40320), constant(turns, -1 / 720))
    even = fma(square, fma(square, even, constant(turns, 1 / 24)), zero - half)
    even = fma(square, even, one)
    odd = fma(square, constant(turns, 1 / 362880), constant(turns, -1 / 5040))
    odd = fma(square, fma(square, odd, constant(turns, 1 / 120)), constant(turns, -1 / 6))
    odd = fma(square * angle, odd, angle)
    swapped = quarter - constant(turns, 2.0) * floor(quarter * half)
    cosine, sine = if_equal(swapped, one, odd, even), if_equal(swapped, one, even, odd)
    return _turned(cosine, quarter - constant(turns, 1.5)), _turned(sine, quarter - constant(turns, 2.5))


@register_jitable(inline="always")
def _turned(value, apart):
    """value, or its negative where `apart` is nearer to 0 than 1."""
    one = constant(value, 1.0)
    apart = if_above(apart, constant(value, 0.0), apart, constant(value, 0.0) - apart)
    return value * copysign(one, apart - one)
