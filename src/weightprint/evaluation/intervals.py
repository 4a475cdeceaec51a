"""Intervals: of shares in closed form, of anything else by the bootstrap over units."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
"""Bootstrap resamples; the ends of a 95 % percentile interval then rest on 50 each."""

BLOCK = 2**21
"""Numbers of the bootstrap's draws that are held at once, at most (or one resample's): 16 MB."""

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

Statistic = Callable[[Floats], Floats]
"""Takes how often each of n units was drawn, float64 [B, n], and gives a value per resample [B], NaN where it is not
defined."""


def wilson(successes: float, n: int) -> Interval:
    """The 95 % Wilson score interval of a share `successes` / `n`; (0, 1) when n is 0.

    Successes may be a sum of shares: a fraction gets the union of the intervals of the whole numbers beside it.
    """
    return _binomial(math.floor(successes), n, "wilson")[0], _binomial(math.ceil(successes), n, "wilson")[1]


def clopper_pearson(successes: int, n: int) -> Interval:
    """The exact 95 % interval of a share `successes` / `n`; (0, 1) when n is 0."""
    return _binomial(successes, n, "exact")


def _binomial(successes: int, n: int, method: Literal["wilson", "exact"]) -> Interval:
    from scipy.stats import binomtest

    if n == 0:
        return 0.0, 1.0
    interval = binomtest(successes, n).proportion_ci(method=method)
    return float(interval.low), float(interval.high)


def bootstrap(statistic: Statistic, n: int, *, seed: int = 0) -> Interval | None:
    """The 95 % percentile interval of a statistic over `n` units drawn with replacement.

    Resamples in which it is not defined are left out; None if none is left.
    """
    return bootstrap_each({"": statistic}, n, seed=seed)[""]


def bootstrap_each(statistics: Mapping[str, Statistic], n: int, *, seed: int = 0) -> dict[str, Interval | None]:
    """`bootstrap` of several statistics on the same resamples, which are drawn once.

    Resamples are drawn and handed on in blocks, so that memory grows with `n` and not with their number.
    """
    generator = np.random.default_rng(seed)
    rows = max(1, min(RESAMPLES, BLOCK // max(n, 1)))
    values: dict[str, list[Floats]] = {name: [] for name in statistics}
    for first in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - first)
        counts = generator.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)
        for name, statistic in statistics.items():
            values[name].append(statistic(counts))
    return {name: _percentiles(np.concatenate(found)) for name, found in values.items()}


def _percentiles(values: Floats) -> Interval | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def bootstrap_share(hits: npt.NDArray, totals: npt.NDArray) -> Interval | None:
    """The interval of Σ hits / Σ totals when runs, each with its hits and total [N], are drawn with replacement."""
    return bootstrap(lambda counts: (counts @ hits) / (counts @ totals), len(hits))


def bootstrap_pairs(values: Floats, left: Sequence[Hashable], right: Sequence[Hashable]) -> Interval | None:
    """The 95 % interval of the mean over pairs, where one unit takes part in several pairs.

    values:      of the pairs [D]
    left, right: the two units of each pair [D]; equal names are the same unit, on whichever side

    Such pairs are not independent: units are drawn with replacement, and a pair weighs as often as both its units are
    drawn together. Source: A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007), 386–411; it
    errs on the wide side. None for no pair.
    """
    place = {unit: i for i, unit in enumerate(dict.fromkeys([*left, *right]))}
    if not place:
        return None
    values = np.asarray(values, np.float64)
    i, j = (np.array([place[unit] for unit in side]) for side in (left, right))

    def mean(counts: Floats) -> Floats:
        weights = counts[:, i] * counts[:, j]
        total = weights.sum(axis=1)
        return np.where(total > 0, (weights @ values) / np.where(total > 0, total, 1), np.nan)

    return bootstrap(mean, len(place))


def finite(value: float) -> float | None:
    """A number that JSON can hold, or None."""
    return float(value) if math.isfinite(value) else None


def listed(interval: Interval | None) -> list[float] | None:
    """An interval as JSON holds it."""
    return list(interval) if interval else None
