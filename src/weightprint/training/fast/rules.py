"""The update rules of `weightprint.training.optimizers`, each as one pass over memory.

`values`, `gradients` and a rule's own memory, `a` and `b`, are of one length, whole vectors of L numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from weightprint.errors import SetupError
from weightprint.training.fast.cache import compiled
from weightprint.training.fast.vector import fma, like, load, sqrt, store
from weightprint.training.optimizers import MOMENTUM, RULES, SGD, Adam, Momentum, RMSProp, RMSPropTorch

Rule = Callable[[float], None]
"""Changes the weights, given the learning rate."""


def rule(name: str, values: np.ndarray, gradients: np.ndarray, *, lanes: int, weight_decay: float) -> Rule:
    """The update rule of that name, which changes `values` from `gradients`."""
    constants = RULES[name]
    work, decay = (values, gradients), weight_decay
    a, b = np.zeros_like(values), np.zeros_like(values)
    if issubclass(constants, Adam):
        shares, epsilon, steps = (1 - constants.beta1, 1 - constants.beta2), constants.epsilon, 0
        adam, decoupled = _adam(lanes), name == "adamw"

        def update(rate: float) -> None:
            nonlocal steps
            steps += 1
            mean, root = 1 - constants.beta1**steps, math.sqrt(1 - constants.beta2**steps)
            if decoupled:
                adam(*work, a, b, rate / mean, 0.0, 1 - rate * decay, *shares, 1 / root, epsilon)
            else:
                adam(*work, a, b, rate * root / mean, decay, 1.0, *shares, 1.0, epsilon)

        return update
    if issubclass(constants, Momentum):
        momentum, nesterov = _momentum(lanes), name == "nesterov"
        return lambda rate: momentum(*work, a, rate, decay, MOMENTUM, nesterov)
    if issubclass(constants, RMSProp):
        rmsprop = _rmsprop(lanes)
        a[:] = 1
        return lambda rate: rmsprop(*work, a, rate, decay, constants.decay, constants.epsilon, 0.0)
    if issubclass(constants, RMSPropTorch):
        rmsprop = _rmsprop(lanes)
        return lambda rate: rmsprop(*work, a, rate, decay, constants.decay, 0.0, constants.epsilon)
    if constants is not SGD:
        raise SetupError(f"there are no kernels for the rule {name}", hint="plain torch has it")
    sgd = _sgd(lanes)
    return lambda rate: sgd(*work, rate, decay)


@cache
def _sgd(L):
    @compiled
    def sgd(values, gradients, rate, decay):
        """θ ← θ - η (g + λ θ)"""
        step, more = like(L, values, -rate), like(L, values, decay)
        for i in range(0, len(values), L):
            value = load(L, values, i)
            store(values, i, fma(step, fma(more, value, load(L, gradients, i)), value))

    return sgd


@cache
def _momentum(L):
    @compiled
    def momentum(values, gradients, a, rate, decay, keep, nesterov):
        """a ← keep · a + g; θ ← θ - η a, or with Nesterov's look ahead θ - η (g + keep · a)"""
        more, kept = like(L, values, decay), like(L, values, keep)
        now, past = like(L, values, -rate if nesterov else 0.0), like(L, values, -rate * keep if nesterov else -rate)
        for i in range(0, len(values), L):
            value = load(L, values, i)
            g = fma(more, value, load(L, gradients, i))
            moved = fma(kept, load(L, a, i), g)
            store(a, i, moved)
            store(values, i, fma(past, moved, fma(now, g, value)))

    return momentum


@cache
def _adam(L):
    @compiled
    def adam(values, gradients, a, b, rate, decay, shrink, first, second, larger, epsilon):
        """a ← a + first · (g - a); b ← b + second · (g² - b); θ ← shrink · θ - η a / (larger · √b + ε)"""
        more, smaller, step = like(L, values, decay), like(L, values, shrink), like(L, values, -rate)
        first_share, second_share, kept = like(L, values, first), like(L, values, second), like(L, values, 1 - second)
        factor, apart = like(L, values, larger), like(L, values, epsilon)
        for i in range(0, len(values), L):
            value = load(L, values, i)
            g = fma(more, value, load(L, gradients, i))
            mean = load(L, a, i)
            mean = fma(first_share, g - mean, mean)
            square = fma(second_share * g, g, kept * load(L, b, i))
            store(a, i, mean)
            store(b, i, square)
            store(values, i, fma(smaller, value, step * mean / fma(factor, sqrt(square), apart)))

    return adam


@cache
def _rmsprop(L):
    @compiled
    def rmsprop(values, gradients, a, rate, decay, keep, inside, outside):
        """a ← keep · a + (1 - keep) · g²; θ ← θ - η g / (√(a + inside) + outside)"""
        more, kept, share = like(L, values, decay), like(L, values, keep), like(L, values, 1 - keep)
        within, beyond, step = like(L, values, inside), like(L, values, outside), like(L, values, -rate)
        for i in range(0, len(values), L):
            value = load(L, values, i)
            g = fma(more, value, load(L, gradients, i))
            square = fma(share * g, g, kept * load(L, a, i))
            store(a, i, square)
            store(values, i, fma(step, g / (sqrt(square + within) + beyond), value))

    return rmsprop
