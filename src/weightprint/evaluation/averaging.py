"""How scores grow with what is averaged: slices of a snapshot, snapshots of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.evaluation.intervals import bootstrap_share, listed
from weightprint.evaluation.scores import classification_scores, regression_scores


def averaged_classes(
    truth: npt.NDArray[np.intp], outputs: Sequence[npt.NDArray[np.float64]], classes: int, count: int
) -> dict[str, Any]:
    """Accuracies when the first `count` slices of each snapshot are averaged.

    truth:   class number of each run [N]
    outputs: per run the class probabilities of every snapshot and slice, [T, K, C]

    "per_run":       all snapshots averaged, with its Wilson interval
    "one_snapshot":  each snapshot alone, counted over all of them; bootstrap over runs
    "last_snapshot": the last one alone, with its Wilson interval
    """
    means = [output[:, :count].mean(axis=1, keepdims=True) for output in outputs]
    whole = classification_scores(truth, means, classes, local=False)
    last = classification_scores(truth, [mean[-1:] for mean in means], classes, local=False)
    return {"per_run": whole["per_run"], "one_snapshot": whole["per_snapshot"], "last_snapshot": last["per_run"]}


def averaged_values(
    truth: Sequence[npt.NDArray[np.float64]], outputs: Sequence[npt.NDArray[np.float64]], count: int, *, log: bool
) -> dict[str, Any]:
    """The same of values: the measures of a regression, of "one_snapshot" the mean absolute error alone.

    truth:   per run the value at every snapshot [T]
    outputs: per run the values of every snapshot and slice, [T, K, 1]
    log:     whether the logarithm was regressed: the mean is then the geometric one
    """

    def mean(values: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
        return np.exp(np.log(values).mean(axis=axis)) if log else values.mean(axis=axis)

    means = [mean(output[:, :count, 0], 1) for output in outputs]  # each [T]
    errors = np.array([np.abs(m - t).sum() for m, t in zip(means, truth, strict=True)])
    totals = np.array([len(t) for t in truth], float)
    return {
        "per_run": regression_scores(np.array([t.mean() for t in truth]), np.array([mean(m, 0) for m in means])),
        "one_snapshot": {
            "mae": {"value": float(errors.sum() / totals.sum()), "interval": listed(bootstrap_share(errors, totals))},
            "n_runs": len(truth),
        },
        "last_snapshot": regression_scores(np.array([t[-1] for t in truth]), np.array([m[-1] for m in means])),
    }
