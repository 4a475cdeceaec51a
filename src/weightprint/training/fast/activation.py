"""The four activations on vectors, and their slopes in terms of their results."""

from __future__ import annotations

from numba.extending import register_jitable

from weightprint.training.fast.vector import constant, expm1, if_above

ACTIVATIONS = ("relu", "elu", "sigmoid", "tanh")
"""The numbers by which kernels know them."""


@register_jitable(inline="always")
def activated(v, activation):
    """The activation of v, a vector."""
    zero, two = constant(v, 0.0), constant(v, 2.0)
    if activation == 0:
        v = if_above(zero, v, zero, v)
    elif activation == 1:
        v = if_above(zero, v, expm1(v), v)
    elif activation == 2:
        v = constant(v, 1.0) / (two + expm1(zero - v))
    else:
        v = expm1(v + v)
        v = v / (v + two)
    return v


@register_jitable(inline="always")
def slope_at(value, activation):
    """The derivative of the activation where its result is `value`."""
    zero, one = constant(value, 0.0), constant(value, 1.0)
    if activation == 0:
        slope = if_above(value, zero, one, zero)
    elif activation == 1:
        slope = if_above(value, zero, one, value + one)
    elif activation == 2:
        slope = value * (one - value)
    else:
        slope = one - value * value
    return slope
