"""The test accuracy of the runs beside the accuracy with which their set-ups are named. Nothing is fitted for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from weightprint.evaluation.answers import CLASSIFICATION, from_json, one_kind, per_run
from weightprint.evaluation.comparison import independent_difference
from weightprint.evaluation.intervals import bootstrap_share
from weightprint.evaluation.scores import accuracy_interval
from weightprint.meta.view import LATER_HALF
from weightprint.study.cells import Cells
from weightprint.study.plans import TRIAL, Planned, Row, row
from weightprint.study.table import StudiedRun

EXPERIMENT = "run_accuracy"
MEAN = "mean test accuracy"
HALVES = ("named, high test accuracy", "named, low test accuracy", "difference")


def rows(planned: Sequence[Planned], cells: Cells, runs: Sequence[StudiedRun]) -> list[Row]:
    """Rows of the table of results, made of the answers of trials.

    Per property and moment the mean test accuracy of the runs that were tested there; and per property how often runs
    are named right in the later half that have a higher test accuracy than the median of their data set, and a lower
    one.
    """
    known = {run.identity: [m.get("test_accuracy") for m in run.measurements] for run in runs}
    learnt = {run: np.array(of_run, float) for run, of_run in known.items() if of_run and None not in of_run}
    level, datasets = {}, {}
    for run in runs:
        if run.identity in learnt:
            later = [learnt[run.identity][number - 1] for number in run.snapshots_of(LATER_HALF)]
            level[run.identity], datasets[run.identity] = float(np.mean(later)), run.properties.get("dataset")
    table_rows = []
    for one in planned:
        if one.cell.kind != TRIAL or one.experiment not in ("moments", "headline"):
            continue
        for x, kept in zip(one.xs, (cells.get(one.cell) or {}).get("answers") or (), strict=False):
            if kept is None or one_kind(answers := from_json(kept)) != CLASSIFICATION:
                continue
            tested = per_run(answers)
            named = {run: share for run, share in zip(tested["run"], tested["score"], strict=True) if run in learnt}
            if named and one.experiment == "headline":
                table_rows += _halves(one, named, level, datasets)
            elif named and str(x) == one.series:
                accuracies = np.array([learnt[run][int(x) - 1] for run in named], np.float64)
                interval = bootstrap_share(accuracies, np.ones(len(accuracies)))
                table_rows.append(_row(one, MEAN, x, "test accuracy", accuracies.mean(), interval, len(named)))
    return table_rows


def _halves(
    one: Planned, named: Mapping[str, float], level: Mapping[str, float], datasets: Mapping[str, Any]
) -> list[Row]:
    of_dataset: dict[Any, list[float]] = {}
    for run in named:
        of_dataset.setdefault(datasets[run], []).append(level[run])
    medians = {dataset: np.median(levels) for dataset, levels in of_dataset.items()}
    shares = [
        np.array([share for run, share in named.items() if sign * (level[run] - medians[datasets[run]]) > 0])
        for sign in (1, -1)
    ]
    if not all(map(len, shares)):
        return []
    high, low = ((float(s.mean()), *accuracy_interval(s)) for s in shares)
    difference, *ends = independent_difference(high, low)
    rows = [
        _row(one, name, "", "share named right", value, (below, over), len(s))
        for name, (value, below, over), s in zip(HALVES, (high, low), shares, strict=False)
    ]
    return [*rows, _row(one, HALVES[2], "", "difference", difference, (ends[0], ends[1]), sum(map(len, shares)))]


def _row(
    one: Planned, series: str, x: Any, measure: str, value: float, interval: tuple[float, float] | None, n: int
) -> Row:
    low, high = interval or (None, None)
    score = {"measure": measure, "value": float(value), "low": low, "high": high, "n_runs": n}
    return row(one, x, score, question="when", experiment=EXPERIMENT, series=series)
