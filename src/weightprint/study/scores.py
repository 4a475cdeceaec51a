"""Scores: what answers on test runs, given in one split or several, come to in the study's tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from weightprint.evaluation.answers import CLASSIFICATION, one_kind, per_run
from weightprint.evaluation.intervals import bootstrap, finite
from weightprint.evaluation.scores import r_squared, scores


def score_of(answers: pl.DataFrame, n_train_runs: int) -> dict[str, Any]:
    """The score of a table of answers, in which each run weighs the same, however many splits tested it. JSON-ready.

    measure:   "accuracy", or "r2" for a regression
    value, low, high: with its 95 % interval over runs; None where it is not defined
    chance, majority: accuracies that need no weights; None for a regression
    n_runs:    test runs
    n_train_runs: of the smallest fit
    classes, confusion: [C, C] truth by answer, a run that splits name differently divided; None for a regression
    per_run:   run → (truth, share of splits in which it was named right, or mean estimate)
    """
    if one_kind(answers) != CLASSIFICATION:
        return _of_values(answers, n_train_runs)
    found = scores(answers)
    low, high = found["per_run"]["interval"]
    runs = per_run(answers)
    truths = [found["classes"][int(number)] for number in runs["truth"]]
    return {
        "measure": "accuracy",
        "value": found["per_run"]["accuracy"],
        "low": low,
        "high": high,
        "chance": found["chance"],
        "majority": found["majority"],
        "n_runs": len(runs),
        "n_train_runs": n_train_runs,
        "classes": found["classes"],
        "confusion": found["confusion"],
        "per_run": {run: [t, s] for run, t, s in zip(runs["run"], truths, runs["score"], strict=True)},
    }


def _of_values(answers: pl.DataFrame, n_train_runs: int) -> dict[str, Any]:
    runs = per_run(answers)
    truth, errors = runs["truth"].to_numpy(), runs["square_error"].to_numpy()

    def r2(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return r_squared(truth, errors, counts)

    low, high = bootstrap(r2, len(runs)) or (None, None)
    estimates = answers.group_by("run", maintain_order=True).agg(pl.col("answer").mean())["answer"]
    return {
        "measure": "r2",
        "value": finite(float(r2(np.ones((1, len(runs))))[0])),
        "low": low,
        "high": high,
        "chance": None,
        "majority": None,
        "n_runs": len(runs),
        "n_train_runs": n_train_runs,
        "classes": [],
        "confusion": None,
        "per_run": {run: [t, e] for run, t, e in zip(runs["run"], truth.tolist(), estimates, strict=True)},
    }
