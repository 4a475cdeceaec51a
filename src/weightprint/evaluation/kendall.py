"""Kendall's τ-b: how far two orders agree, of a sample and of many resamples at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BLOCK = 32
"""Runs whose pairs with all runs are held at once."""


def tau(truth: npt.NDArray, predicted: npt.NDArray, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """τ-b of each resample [B]: concordant minus discordant pairs over √(pairs untied in truth · untied in prediction).

    truth, predicted: of each run [N]
    counts:           how often a resample draws each run [B, N]; a run drawn twice makes no pair with itself

    Source: Kendall, Biometrika 33 (1945), 239–251. NaN where all truths or all predictions drawn are equal. Memory
    grows with N, not with the number of pairs.
    """
    untied = _untied(truth, counts) * _untied(predicted, counts)
    defined = untied > 0
    return np.where(defined, _order(truth, predicted, counts) / np.sqrt(np.where(defined, untied, 1)), np.nan)


def ceiling(truth: npt.NDArray, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The largest τ-b of each resample [B] that predictions without ties can reach: √(pairs untied in truth / pairs).

    τ-b = (concordant − discordant) / √((n₀ − n₁)(n₀ − n₂)) with n₀ pairs, n₁ of them tied in truth and n₂ in the
    prediction; with n₂ = 0 a perfect order makes all n₀ − n₁ concordant. NaN where one draws a single run.
    """
    pairs = counts.sum(axis=1) ** 2 - (counts**2).sum(axis=1)
    return np.where(pairs > 0, np.sqrt(_untied(truth, counts) / np.where(pairs > 0, pairs, 1)), np.nan)


def _untied(values: npt.NDArray, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Pairs drawn whose values differ, each counted in both directions [B]."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    tied = np.add.reduceat(counts[:, order], starts, axis=1)
    return counts.sum(axis=1) ** 2 - (tied**2).sum(axis=1)


def _order(truth: npt.NDArray, predicted: npt.NDArray, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Concordant minus discordant pairs drawn, each counted in both directions [B]."""
    found = np.zeros(len(counts))
    for first in range(0, len(truth), BLOCK):
        some = slice(first, first + BLOCK)
        agreement = np.sign(truth[:, None] - truth[some]) * np.sign(predicted[:, None] - predicted[some])  # [N, BLOCK]
        found += ((counts @ agreement) * counts[:, some]).sum(axis=1)
    return found
