"""The statistics of weights that simple meta-classifiers read (protocol: section 4, SVM).

Eight statistics (mean, variance, skewness and five quantiles) of a stretch of weights, and the same eight of its
finite differences: sixteen features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from weightprint.features.numbers import quantiles
from weightprint.zoo.layout import Layout

QUANTILES = (0.01, 0.25, 0.50, 0.75, 0.99)
STATISTICS = ("mean", "variance", "skewness", *(f"q{round(100 * q):02d}" for q in QUANTILES))
FEATURES = (*STATISTICS, *(f"d.{name}" for name in STATISTICS))
"""Names of the sixteen features, in the order of the columns; `d.` marks those of the finite differences."""

_CACHED_WEIGHTS = 1 << 15
"""Weights worked on at a time, so that intermediate arrays stay in the processor's cache."""


def statistics(x: npt.NDArray) -> npt.NDArray[np.float64]:
    """The sixteen FEATURES of each row: [B, L] finite → float64 [B, 16].

    Population variance and skewness m₃ / m₂^1.5 (Fisher–Pearson, no bias correction); the skewness of a constant is 0.
    Quantiles interpolate linearly between order statistics, as `numpy.quantile` does. A single weight has no
    differences: their features are 0. Magnitudes up to float32's largest do not overflow.
    """
    features = np.zeros((len(x), len(FEATURES)))
    rows = max(1, _CACHED_WEIGHTS // max(1, x.shape[1]))
    for first in range(0, len(x), rows):
        some = x[first : first + rows]
        exact = some.astype(np.float64)
        features[first : first + rows, : len(STATISTICS)] = _eight(exact, np.sort(some, axis=1).astype(np.float64))
        if x.shape[1] > 1:
            differences = np.diff(exact, axis=1)
            features[first : first + rows, len(STATISTICS) :] = _eight(differences, np.sort(differences, axis=1))
    return features


def tensor_statistics(weights: npt.NDArray, layout: Layout) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """The sixteen features of every tensor: [B, P] → (float64 [B, n·16], names), n tensors that are not empty.

    Names join tensor and feature: "conv1/kernel.mean", "conv1/kernel.d.q25".
    """
    tensors = [t for t in layout if t.size]
    if not tensors:
        return np.zeros((len(weights), 0)), ()
    features = [statistics(weights[:, t.offset : t.stop]) for t in tensors]
    return np.concatenate(features, axis=1), tuple(f"{t.name}.{name}" for t in tensors for name in FEATURES)


def _eight(x: npt.NDArray[np.float64], ordered: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean, variance, skewness and quantiles of each row: float64 [B, L] and its rows in ascending order → [B, 8]."""
    mean = x.mean(axis=1)
    largest = np.maximum(mean - ordered[:, 0], ordered[:, -1] - mean)
    # Deviations at the size of the mean's own rounding are no shape: such a row counts as constant (scipy.stats.skew).
    varies = largest > 1e-14 * np.abs(mean)
    scale = np.where(varies, largest, 1.0)
    centred = (x - mean[:, None]) / scale[:, None]
    squared = centred * centred
    m2 = np.where(varies, squared.mean(axis=1), 1.0)
    m3 = np.where(varies, np.einsum("ij,ij->i", squared, centred) / x.shape[1], 0.0)
    variance = np.where(varies, m2 * scale**2, 0.0)
    return np.column_stack([mean, variance, m3 / m2**1.5, quantiles(ordered, QUANTILES)])
