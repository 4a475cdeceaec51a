"""Intervals, and the document that says how well a meta-classifier does on runs it has not seen.

The unit is the run: snapshots and slices of one run say nearly the same thing, so that every interval is over runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: two-sided 95 % intervals."""

RESAMPLES = 2000
"""Bootstrap resamples; the ends of a 95 % percentile interval then rest on 50 each."""

Interval = tuple[float, float]


def wilson(successes: float, n: int) -> Interval:
    """The 95 % Wilson score interval of a share `successes` / `n`.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209–212. (0, 1) when n is 0.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return (0.0 if successes == 0 else middle - half), (1.0 if successes == n else middle + half)


def bootstrap(
    statistic: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], n: int, *, seed: int = 0
) -> Interval | None:
    """The 95 % percentile interval of a statistic over `n` runs drawn with replacement.

    statistic: takes how often each run was drawn, float64 [RESAMPLES, n], and gives a value per resample
               [RESAMPLES], NaN where it is not defined; those are left out, and None is returned if none is left.
    """
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
    values = statistic(counts)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def bootstrap_share(hits: npt.NDArray, totals: npt.NDArray) -> Interval | None:
    """The interval of Σ hits / Σ totals when runs, each with its hits and total [N], are drawn with replacement."""
    return bootstrap(lambda counts: (counts @ hits) / (counts @ totals), len(hits))


def tau_ceiling(truth: npt.NDArray) -> float:
    """The largest Kendall τ-b that predictions without ties can reach: √(1 − n₁ / n₀).

    n₀ is the number of pairs of runs, n₁ that of pairs with equal truth. τ-b = (concordant − discordant) /
    √((n₀ − n₁)(n₀ − n₂)) (Kendall, Biometrika 33 (1945), 239–251); without ties among predictions n₂ = 0, and a
    perfect order makes all n₀ − n₁ untied pairs concordant. NaN for fewer than two runs.
    """
    n = len(truth)
    _, repeats = np.unique(truth, return_counts=True)
    pairs = n * (n - 1) / 2
    return math.sqrt(1 - (repeats * (repeats - 1) / 2).sum() / pairs) if pairs else math.nan


def classification_scores(
    truth: npt.NDArray[np.intp], outputs: Sequence[npt.NDArray[np.float64]], classes: int, *, local: bool
) -> dict[str, Any]:
    """The part of an evaluation that depends on predictions.

    truth:   class number of each run [N]
    outputs: per run the class probabilities of every snapshot and slice, [T, K, C]
    """
    n = len(truth)
    predicted = np.array([output.mean(axis=(0, 1)).argmax() for output in outputs])
    hits = np.array([(o.argmax(axis=2) == t).sum() for o, t in zip(outputs, truth, strict=True)], np.float64)
    totals = np.array([o.shape[0] * o.shape[1] for o in outputs], np.float64)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    right = int((predicted == truth).sum())
    return {
        "chance": 1 / classes,
        "majority": float(np.bincount(truth).max() / n),
        "per_run": {"accuracy": right / n, "interval": list(wilson(right, n)), "n": n},
        "per_slice" if local else "per_snapshot": {
            "accuracy": float(hits.sum() / totals.sum()),
            "interval": listed(bootstrap_share(hits, totals)),
            "n_runs": n,
        },
        "confusion": confusion.tolist(),
    }


def regression_scores(truth: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64]) -> dict[str, Any]:
    """R², mean absolute error, Kendall τ-b and its ceiling over runs, each a value with its bootstrap interval.

    truth, predicted: one value per run [N]. A value that is not defined (R² of equal truths, τ of one run) is None.
    """
    n = len(truth)
    error = truth - predicted
    order, truth_differs, prediction_differs = _pairs(truth, predicted)
    once = np.ones((1, n))

    def r2(counts):
        residual = counts @ error**2
        mean = (counts @ truth) / n
        spread = counts @ (truth - truth.mean()) ** 2 - n * (mean - truth.mean()) ** 2
        # A spread at the size of its own rounding is none: all truths drawn are equal.
        defined = spread > 1e-12 * max(float(np.sum((truth - truth.mean()) ** 2)), 1e-300)
        return np.where(defined, 1 - residual / np.where(defined, spread, 1), np.nan)

    def tau(counts):
        untied = _form(counts, truth_differs) * _form(counts, prediction_differs)
        return np.where(untied > 0, _form(counts, order) / np.sqrt(np.where(untied > 0, untied, 1)), np.nan)

    def ceiling(counts):
        pairs = counts.sum(axis=1) ** 2 - (counts**2).sum(axis=1)
        return np.where(pairs > 0, np.sqrt(_form(counts, truth_differs) / np.where(pairs > 0, pairs, 1)), np.nan)

    def mae(counts):
        return counts @ np.abs(error) / n

    measures = {"r2": r2, "mae": mae, "kendall_tau": tau, "tau_ceiling": ceiling}
    return {
        "n": n,
        **{
            name: {"value": finite(measure(once)[0]), "interval": listed(bootstrap(measure, n))}
            for name, measure in measures.items()
        },
    }


def _pairs(truth: npt.NDArray, predicted: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """Per pair of runs [N, N]: 1 in order, −1 out of order; whether the truths and the predictions differ.

    A run drawn twice makes no pair with itself: all three are 0 on the diagonal.
    """
    of_truth = np.sign(truth[:, None] - truth).astype(np.float32)
    of_prediction = np.sign(predicted[:, None] - predicted).astype(np.float32)
    return of_truth * of_prediction, np.abs(of_truth), np.abs(of_prediction)


def _form(counts: npt.NDArray, pairs: npt.NDArray) -> npt.NDArray[np.float64]:
    """Σᵢⱼ countᵢ countⱼ pairᵢⱼ per resample: whole numbers, exact in float64."""
    return ((counts @ pairs.astype(np.float64)) * counts).sum(axis=1)


def finite(value: float) -> float | None:
    """A number that JSON can hold, or None."""
    return float(value) if math.isfinite(value) else None


def listed(interval: Interval | None) -> list[float] | None:
    """An interval as JSON holds it."""
    return list(interval) if interval else None


def length_note(lengths: Sequence[int]) -> dict[str, Any]:
    """Whether weight vectors differ in length and, if so, what that may mean."""
    if len(set(lengths)) < 2:
        return {"lengths_differ": False}
    return {
        "lengths_differ": True,
        "note": f"weight vectors have {min(lengths)} to {max(lengths)} weights: part of the result may come from "
        "the architecture (which tensors there are, where a slice can lie) instead of the weights' values",
    }
