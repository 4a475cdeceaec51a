"""Small numerical functions that the features of layers are made of; rows are snapshots [T, n]."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TINY = 1e-12
"""Added before logarithms and divisions: far below the weights of any layer that computes something."""

Floats = npt.NDArray[np.float64]
Features = dict[str, Floats]


def log10(x: npt.NDArray) -> Floats:
    """Decimal logarithm of magnitudes, TINY added, so that 0 has one."""
    return np.log10(np.abs(x) + TINY)


def signed_log(x: npt.NDArray) -> Floats:
    """Logarithmic far from 0 and linear near it, keeping the sign."""
    return np.arcsinh(1e3 * x)


def dots(x: npt.NDArray, y: npt.NDArray) -> Floats:
    """Inner products of rows [T, n], in their own precision and by BLAS: the fast way to a sum of products."""
    return (x[:, None, :] @ y[:, :, None])[:, 0, 0].astype(np.float64)


def rms(x: npt.NDArray, axis: int | tuple[int, ...]) -> Floats:
    """Root mean square over some axes, summed in float64."""
    summed = np.square(x).sum(axis=axis, dtype=np.float64)
    return np.sqrt(summed * (summed.size / x.size))


def quantiles(ordered: npt.NDArray, levels: npt.ArrayLike) -> npt.NDArray:
    """Quantiles of rows in ascending order: [T, n] → [T, levels], interpolated between neighbours."""
    place = np.asarray(levels) * (ordered.shape[1] - 1)
    below = place.astype(np.intp)
    above = np.minimum(below + 1, ordered.shape[1] - 1)
    low = ordered[:, below]
    return low + (ordered[:, above] - low) * (place - below)


def share_below(ordered: npt.NDArray, bounds: npt.NDArray) -> Floats:
    """Share of each ascending row [T, n] below each of its bounds [T, k]: float64 [T, k]."""
    bounds = bounds.astype(ordered.dtype)
    counts = [row.searchsorted(bound) for row, bound in zip(ordered, bounds, strict=True)]
    return np.array(counts, dtype=np.float64) / ordered.shape[1]


def correlation(x: npt.NDArray, y: npt.NDArray) -> Floats:
    """Pearson's correlation of rows [T, n]; 0 where one of them is constant."""
    x, y = x - x.sum(axis=1, keepdims=True) / x.shape[1], y - y.sum(axis=1, keepdims=True) / y.shape[1]
    scale = np.sqrt(np.einsum("tn,tn->t", x, x)) * np.sqrt(np.einsum("tn,tn->t", y, y))
    varies = scale > TINY
    return np.where(varies, np.einsum("tn,tn->t", x, y) / np.where(varies, scale, 1), 0.0)
