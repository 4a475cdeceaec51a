"""Scores: what answers on test runs, given in one split or several, come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.evaluation.intervals import Interval, bootstrap, bootstrap_share, finite, wilson
from weightprint.meta.targets import CLASSIFICATION, Target


def score_of(target: Target, answers: Mapping[int, Sequence[tuple[Any, Any]]], n_train_runs: int) -> dict[str, Any]:
    """The score of answers: run number → (truth, answer), once per split that tested it. JSON-ready.

    Each run weighs the same, however many splits tested it: its hits, or squared errors, are averaged over them. The
    answers themselves are not, which would be another meta-classifier: an ensemble.

    measure:   "accuracy", or "r2" for a regression
    value, low, high: with its 95 % interval over runs; None where it is not defined
    chance, majority: accuracies that need no weights; None for a regression
    n_runs:    test runs
    n_train_runs: of the smallest fit
    classes, confusion: [C, C] truth by answer, over all splits; None for a regression
    per_run:   run number → (truth, share of splits in which it was named right, or mean estimate)
    """
    numbers = sorted(answers)
    if target.kind != CLASSIFICATION:
        return _of_values({i: answers[i] for i in numbers}, n_train_runs)
    shares = np.array([np.mean([t == a for t, a in answers[i]]) for i in numbers])
    low, high = _interval(shares, once=all(len(answers[i]) == 1 for i in numbers))
    confusion = np.zeros((len(target.classes),) * 2, np.int64)
    for i in numbers:
        for t, a in answers[i]:
            confusion[target.classes.index(t), target.classes.index(a)] += 1
    truths = [answers[i][0][0] for i in numbers]
    return {
        "measure": "accuracy",
        "value": float(shares.mean()),
        "low": low,
        "high": high,
        "chance": 1 / len(target.classes),
        "majority": max(map(truths.count, target.classes)) / len(numbers),
        "n_runs": len(numbers),
        "n_train_runs": n_train_runs,
        "classes": list(target.classes),
        "confusion": confusion.tolist(),
        "per_run": {str(i): [t, float(s)] for i, t, s in zip(numbers, truths, shares, strict=True)},
    }


def _of_values(answers: Mapping[int, Sequence[tuple[float, float]]], n_train_runs: int) -> dict[str, Any]:
    truth = np.array([own[0][0] for own in answers.values()], np.float64)
    errors = np.array([np.mean([(t - a) ** 2 for t, a in own]) for own in answers.values()])
    n = len(truth)

    def r2(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        centred = truth - truth.mean()
        spread = counts @ centred**2 - (counts @ centred) ** 2 / n
        # A spread at the size of its own rounding is none: all truths drawn are equal.
        defined = spread > 1e-12 * max(float(centred @ centred), 1e-300)
        return np.where(defined, 1 - counts @ errors / np.where(defined, spread, 1), np.nan)

    low, high = bootstrap(r2, n) or (None, None)
    estimates = [float(np.mean([a for _, a in own])) for own in answers.values()]
    return {
        "measure": "r2",
        "value": finite(float(r2(np.ones((1, n)))[0])),
        "low": low,
        "high": high,
        "chance": None,
        "majority": None,
        "n_runs": n,
        "n_train_runs": n_train_runs,
        "classes": [],
        "confusion": None,
        "per_run": {str(i): [float(t), e] for i, t, e in zip(answers, truth, estimates, strict=True)},
    }


def _interval(shares: npt.NDArray[np.float64], *, once: bool) -> Interval:
    """Wilson's where each run was tested once; else the bootstrap over runs, or Wilson's where all runs agree."""
    n = len(shares)
    plain = wilson(float(shares.sum()), n)
    found = None if once else bootstrap_share(shares, np.ones(n))
    return found if found and found[1] > found[0] else plain
