"""Whether the weights of a kernel look as if each had been drawn by itself: what training leaves is not independent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, norm

from weightprint.features.layers import MOST_UNITS, chosen

LEAST_COUNT = 25
"""Means over fewer weights are not yet distributed as their limit says."""

MOST_INPUTS = 4096


def independent(values: npt.NDArray[np.float32]) -> float:
    """p that a kernel's weights [o, i, window…] are independent and alike: small for what was trained.

    The smallest p of several tests, times their number (Bonferroni): sums and sums of squares over each unit's inputs
    and over each input's units vary as much as independent weights' would; weights side by side in a window, and the
    weights of two units, are uncorrelated. Of large kernels, chosen units and inputs are looked at.
    """
    matrix = values.reshape(len(values), -1)
    matrix = matrix[chosen(matrix.shape[0], MOST_UNITS)][:, chosen(matrix.shape[1], MOST_INPUTS)].astype(np.float64)
    scale = np.sqrt(np.square(matrix).mean())
    if not scale > 0:
        return 0.0
    matrix /= scale
    squares = np.square(matrix)
    spread = float(np.square(squares).mean()) - 1  # variance of a square
    tests: list[float] = []
    for axis in (0, 1):
        count = matrix.shape[axis]
        if count >= LEAST_COUNT:
            tests.append(_as_large(np.square(matrix.sum(axis=axis)).sum() / count, matrix.shape[1 - axis]))
            if spread > 0:
                powers = np.square(squares.sum(axis=axis) - count).sum() / (count * spread)
                tests.append(_as_large(powers, matrix.shape[1 - axis]))
    units, inputs = matrix.shape
    if units > 1 and inputs >= LEAST_COUNT:
        gram = matrix @ matrix.T
        np.fill_diagonal(gram, 0)
        pairs = units * (units - 1) / 2
        tests.append(_as_normal((np.square(gram).sum() / (2 * inputs) - pairs) / np.sqrt(2 * pairs)))
    if values.ndim > 2 and values.shape[-1] > 1 and values.size >= LEAST_COUNT:
        some = values[chosen(values.shape[0], MOST_UNITS)].astype(np.float64) / scale
        products = some[..., 1:] * some[..., :-1]
        tests.append(_as_normal(products.sum() / np.sqrt(products.size)))
    return min(1.0, min(tests) * len(tests)) if tests else 1.0


def _as_large(statistic: float, degrees: int) -> float:
    """p, on both sides, of a sum of so many squares."""
    return float(2 * min(chi2.sf(statistic, degrees), chi2.cdf(statistic, degrees)))


def _as_normal(statistic: float) -> float:
    return float(2 * norm.sf(abs(statistic)))
