"""Draws: the random choices of one run, each from a stream of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

from weightprint.seeds import uniform_from_hash

BLOCK = 100
"""Runs among which a dealt field takes every value exactly as often as its share says."""

T = TypeVar("T")


def between(share: float, low: float, high: float, *, log: bool = False) -> float:
    """The number that lies this share of the way from `low` to `high`, or of the way between their logarithms."""
    if log:
        return min(high, math.exp(math.log(low) + (math.log(high) - math.log(low)) * share))
    return low + (high - low) * share


class Draws:
    """The random choices of one run. Every field has a stream of its own, keyed by (seed, run, field name)."""

    def __init__(self, seed: int, run: int) -> None:
        self._seed, self._run = seed, run

    def uniform(self, field: str, low: float, high: float) -> float:
        return between(self._share(field), low, high)

    def log_uniform(self, field: str, low: float, high: float) -> float:
        return between(self._share(field), low, high, log=True)

    def pick(self, field: str, values: Sequence[T]) -> T:
        """One of the values, each as likely."""
        return values[int(self._share(field) * len(values))]

    def weighted(self, field: str, percents: Mapping[T, int]) -> T:
        """One of the values, each with its percentage."""
        return _at(percents, int(self._share(field) * 100))

    def dealt(self, field: str, percents: Mapping[T, int]) -> T:
        """As `weighted`; among the runs 100 k to 100 k + 99 every value is taken exactly as often as its percentage."""
        block, place = divmod(self._run, BLOCK)
        return _at(percents, _places(self._seed, block, field)[place])

    def _share(self, field: str) -> float:
        return uniform_from_hash("setup", self._seed, self._run, field)


@lru_cache(maxsize=256)
def _places(seed: int, block: int, field: str) -> tuple[int, ...]:
    """The ranks of the runs of a block, a permutation of 0 … 99: the order of their shares."""
    shares = [uniform_from_hash("setup", seed, run, field) for run in range(block * BLOCK, (block + 1) * BLOCK)]
    ranks = {share: rank for rank, share in enumerate(sorted(shares))}
    return tuple(ranks[share] for share in shares)


def _at(percents: Mapping[T, int], percent: int) -> T:
    below = 0
    for value, share in percents.items():
        below += share
        if percent < below:
            return value
    raise ValueError(f"percentages {dict(percents)} do not add up to 100")
