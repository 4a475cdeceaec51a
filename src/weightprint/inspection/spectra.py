"""The spectrum of a kernel: its eigenvalues, those that chance would give, and a power law fitted to the largest.

A kernel is the matrix W of its outputs × inputs (a convolution's inputs: channels × window), with N as its longer and M
as its shorter side. Looked at are the M eigenvalues of WWᵀ / N (or WᵀW / N), the squares of the singular values.

- **Chance.** Of independent weights of variance σ² they fill the interval σ² (1 ± √(M/N))² with a known density (V. A.
  Marchenko and L. A. Pastur, Math. USSR-Sbornik 1, 1967). The largest one varies around the upper edge as C. A. Tracy
  and H. Widom found; its centre and scale are those of I. M. Johnstone (Annals of Statistics 29, 2001).
- **Power law.** To the eigenvalues from x_min on, p(x) ~ x^-α is fitted: α by maximum likelihood, x_min where the
  distance of Kolmogorov and Smirnov is least (A. Clauset, C. R. Shalizi and M. E. J. Newman, SIAM Review 51, 2009,
  sections 3.1 and 3.3). C. H. Martin and M. W. Mahoney (JMLR 22, 2021) read α of layers as a sign of how well a network
  was trained.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_SIDE = 512
"""Of a matrix whose sides are both longer, so many chosen outputs are looked at."""

LEAST_SIDE = 20
"""With fewer eigenvalues no power law is fitted."""

LEAST_TAIL = 10
"""Eigenvalues that a fit stands on, at least."""

RELIABLE_TAIL = 50
"""With fewer, α is not reliable (Clauset et al., section 3.1)."""

TRACY_WIDOM_99 = 2.0234
"""One in a hundred of the largest eigenvalues of chance lies farther out (A. Bejan, Largest eigenvalues and sample
covariance matrices, MSc dissertation, 2005, table of F1)."""

_STEPS = 4000
_COLUMNS = 1 << 14


def spectrum_of(matrix: npt.NDArray[np.float32]) -> dict[str, Any] | None:
    """What is told of a matrix [o, n] of finite weights; None where it has fewer than two sides' worth or is all zero.

    | key | value |
    |---|---|
    | `sides` | N and M |
    | `eigenvalues` | the M eigenvalues, ascending |
    | `variance` | σ², the mean square of the weights |
    | `edges` | lower and upper edge of chance |
    | `beyond` | eigenvalues that chance passes in one matrix of a hundred |
    | `stable_rank` | sum of the eigenvalues by the largest |
    | `power_law` | see `power_law`, with `chance`: the α that the eigenvalues of chance give; or None |
    """
    shorter, longer = min(matrix.shape), max(matrix.shape)
    if shorter < 2:
        return None
    eigenvalues = _eigenvalues(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T) / longer
    variance = float(eigenvalues.sum()) / shorter
    if not 0 < variance < math.inf:
        return None
    ratio = math.sqrt(shorter / longer)
    centre = (math.sqrt(longer - 1) + math.sqrt(shorter)) ** 2
    scale = math.sqrt(centre) * (1 / math.sqrt(longer - 1) + 1 / math.sqrt(shorter)) ** (1 / 3)
    limit = variance * (centre + TRACY_WIDOM_99 * scale) / longer
    law = power_law(eigenvalues)
    if law is not None:
        chance = power_law(variance * chance_eigenvalues(shorter, longer))
        law["chance"] = None if chance is None else chance["alpha"]
    return {
        "sides": [longer, shorter],
        "eigenvalues": eigenvalues.tolist(),
        "variance": variance,
        "edges": [variance * (1 - ratio) ** 2, variance * (1 + ratio) ** 2],
        "beyond": int((eigenvalues > limit).sum()),
        "stable_rank": float(eigenvalues.sum() / eigenvalues[-1]),
        "power_law": law,
    }


def _eigenvalues(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Of rows · rowsᵀ, ascending, none below 0; summed in pieces, so that no float64 copy of a large matrix is made."""
    gram = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.shape[1], _COLUMNS):
        piece = rows[:, start : start + _COLUMNS].astype(np.float64)
        gram += piece @ piece.T
    return np.linalg.eigvalsh(gram).clip(0)


def chance_below(x: npt.NDArray[np.float64], shorter: int, longer: int) -> npt.NDArray[np.float64]:
    """The share of the eigenvalues of independent weights of variance 1 that should lie below x."""
    places, shares = _chance(shorter, longer)
    return np.interp(x, places, shares, left=0.0, right=1.0)


def chance_eigenvalues(shorter: int, longer: int) -> npt.NDArray[np.float64]:
    """Eigenvalues of a matrix of independent weights of variance 1 as they should be: quantiles of the density [M]."""
    places, shares = _chance(shorter, longer)
    return np.interp((np.arange(shorter) + 0.5) / shorter, shares, places)


def _chance(shorter: int, longer: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Places between the edges and the share of Marchenko and Pastur's density below each."""
    ratio = math.sqrt(shorter / longer)
    # Evenly spaced angles, so that the edges are seen as closely as the middle.
    angles = (np.arange(_STEPS) + 0.5) * math.pi / _STEPS
    x = 1 + ratio**2 - 2 * ratio * np.cos(angles)
    density = np.sqrt(np.maximum(((1 + ratio) ** 2 - x) * (x - (1 - ratio) ** 2), 0)) / x
    shares = np.cumsum(density * np.sin(angles))
    return x, shares / shares[-1]


def ks_distance(expected: npt.NDArray[np.float64]) -> float:
    """Kolmogorov and Smirnov's distance, by the expected share below each of several ascending values."""
    steps = np.arange(expected.size + 1) / expected.size
    return max(float((steps[1:] - expected).max()), float((expected - steps[:-1]).max()))


def power_law(values: npt.NDArray[np.float64]) -> dict[str, Any] | None:
    """p(x) ~ x^-α fitted to the largest values; None for fewer than LEAST_SIDE that are above 0, or where nothing fits.

    `alpha`, its standard error `error` = (α - 1) / √n, `x_min`, `tail` = n (values from x_min on), `distance` (of
    Kolmogorov and Smirnov), `reliable` (whether n is at least RELIABLE_TAIL).
    """
    x = np.sort(values[values > values.max(initial=0.0) * 1e-12])
    if x.size < LEAST_SIDE:
        return None
    logs = np.log(x)
    sums = np.cumsum(logs[::-1])[::-1]
    best: tuple[float, float, int] | None = None
    for first in range(x.size - LEAST_TAIL + 1):
        tail = x.size - first
        spread = sums[first] - tail * logs[first]
        if spread <= 1e-9 * tail or (first and x[first] == x[first - 1]):
            continue
        alpha = 1 + tail / float(spread)
        share = 1 - np.exp((1 - alpha) * (logs[first:] - logs[first]))
        distance = ks_distance(share)
        if best is None or distance < best[0]:
            best = distance, alpha, first
    if best is None:
        return None
    distance, alpha, first = best
    tail = x.size - first
    return {
        "alpha": alpha,
        "error": (alpha - 1) / math.sqrt(tail),
        "x_min": float(x[first]),
        "tail": tail,
        "distance": distance,
        "reliable": tail >= RELIABLE_TAIL,
    }
