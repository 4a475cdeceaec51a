"""Shapley values by sampling: how a gain is shared out among players who bring it about together.

A player's share is the mean of what its joining adds, over orders in which all players join one after the other
(Štrumbelj and Kononenko, Knowledge and Information Systems 41 (2014), 647–665). Each order is followed by its
reverse, which makes the mean less noisy (Mitchell et al., Journal of Machine Learning Research 23 (2022), no. 43).

Of Captum (captum.ai) `ShapleyValueSampling` would do the same for torch functions; these lines are fewer than the
wrapping it would take here, where the model is no torch function, and let a caller evaluate a whole order at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Value = Callable[[npt.NDArray[np.bool_]], npt.NDArray[np.float64]]
"""What coalitions are worth: which players take part, bool [M, n] → float64 [M]."""


def shapley(value: Value, players: int, pairs: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Each player's share [n] of value(all) − value(none); the shares sum up to it, but for rounding.

    pairs: random orders that are tried, each together with its reverse; `value` is called once per order, with n + 1
           coalitions, each of which has one player more than the one before
    """
    shares = np.zeros(players)
    for _ in range(pairs):
        order = generator.permutation(players)
        for joining in (order, order[::-1]):
            shares[joining] += np.diff(value(growing(joining)))
    return shares / (2 * pairs)


def growing(joining: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Coalitions that players join in this order [n], from nobody to all: bool [n + 1, n]."""
    place = np.empty(len(joining), np.intp)
    place[joining] = np.arange(len(joining))
    return place < np.arange(len(joining) + 1)[:, None]
