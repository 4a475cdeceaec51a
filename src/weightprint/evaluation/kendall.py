"""Kendall's τ-b: how far two orders agree, of a sample and of many resamples at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt


def tau(truth: npt.NDArray, predicted: npt.NDArray, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """τ-b of each resample [B]: concordant minus discordant pairs over √(pairs untied in truth · untied in prediction).

    truth, predicted: of each run [N]
    counts:           how often a resample draws each run [B, N]; a run drawn twice makes no pair with itself

    Source: Kendall, Biometrika 33 (1945), 239–251. NaN where all truths or all predictions drawn are equal. Time grows
    with N log N, memory with N: no pair is held.
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
    """Concordant minus discordant pairs drawn, each counted in both directions [B].

    Runs are gone through by their truth. Those before, of a smaller truth, lie in a tree of partial sums over the ranks
    of predictions (Fenwick, Software: Practice and Experience 24 (1994), 327–336), a column per resample.
    """
    rank = np.unique(predicted, return_inverse=True)[1] + 1
    size = int(rank.max())
    tree = np.zeros((size + 1, len(counts)))
    before = np.zeros(len(counts))
    found = np.zeros(len(counts))
    order = np.argsort(truth, kind="stable")
    drawn = np.ascontiguousarray(counts.T[order])
    below = [_path(r, size, -1) for r in range(size + 1)]  # nodes that together hold the ranks 1 … r
    above = [_path(r, size, 1) for r in range(size + 1)]  # nodes that hold the rank r
    starts = np.flatnonzero(np.r_[True, np.diff(truth[order]) != 0, True])
    for first, last in pairwise(starts):
        tied = range(first, last)
        for k in tied:
            r = rank[order[k]]
            smaller, not_larger = tree[below[r - 1]].sum(axis=0), tree[below[r]].sum(axis=0)
            found += drawn[k] * (smaller - (before - not_larger))
        for k in tied:
            tree[above[rank[order[k]]]] += drawn[k]
            before += drawn[k]
    return 2 * found


def _path(r: int, size: int, direction: int) -> npt.NDArray[np.intp]:
    """The nodes of the tree met from the rank r on, downwards (−1) or upwards (1)."""
    nodes = []
    while 0 < r <= size:
        nodes.append(r)
        r += direction * (r & -r)
    return np.array(nodes, np.intp)
