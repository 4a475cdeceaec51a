"""The runs' own test accuracy beside the accuracy with which their set-ups are named. Nothing is fitted for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from weightprint.evaluation.intervals import bootstrap_share, wilson
from weightprint.meta.view import LATER_HALF
from weightprint.study.cells import Cells
from weightprint.study.plans import COLUMNS, Planned
from weightprint.study.table import FeatureTable

EXPERIMENT = "own_accuracy"
MEAN = "mean test accuracy"
HALVES = ("named, high test accuracy", "named, low test accuracy", "difference")

Row = dict[str, Any]


def rows(planned: Sequence[Planned], cells: Cells, table: FeatureTable) -> list[Row]:
    """Rows with the columns COLUMNS, made of results that are there.

    Per property and moment the mean test accuracy of the runs that were named there; and per property how often runs
    are named in the later half that have a higher test accuracy than the median of their data set, and a lower one.
    """
    own = {run.number: [m.get("test_accuracy") for m in run.measurements] for run in table.runs}
    own = {number: list(a) for number, a in own.items() if a and None not in a}
    later = {run.number: [n - 1 for n in run.moments(LATER_HALF)] for run in table.runs if run.number in own}
    level = {number: float(np.mean([own[number][i] for i in places])) for number, places in later.items()}
    datasets = {run.number: run.properties.get("dataset") for run in table.runs}
    found = []
    for one in planned:
        if one.cell.kind != "trial" or one.experiment not in ("moments", "headline"):
            continue
        for x, score in zip(one.xs, (cells.get(one.cell) or {}).get("scores") or (), strict=False):
            if score.get("measure") != "accuracy" or "per_run" not in score:
                continue
            named = {int(i): share for i, (_, share) in score["per_run"].items() if int(i) in own}
            if not named:
                continue
            if one.experiment == "headline":
                found += _halves(one, named, level, datasets)
            elif str(x) == one.series:
                accuracies = np.array([own[i][int(x) - 1] for i in named], np.float64)
                interval = bootstrap_share(accuracies, np.ones(len(accuracies)))
                found.append(_row(one, MEAN, x, "test accuracy", accuracies.mean(), interval, len(named)))
    return found


def _halves(
    one: Planned,
    named: Mapping[int, float],
    level: Mapping[int, float],
    datasets: Mapping[int, Any],
) -> list[Row]:
    medians = {d: np.median([level[i] for i in named if datasets[i] == d]) for d in {datasets[i] for i in named}}
    numbers = [i for i in named if level[i] != medians[datasets[i]]]
    parts = []
    for above in (True, False):
        inside = [named[i] for i in numbers if (level[i] > medians[datasets[i]]) == above]
        if not inside:
            return []
        # Shares of a run's splits vary at most as much as single answers do, so that Wilson's is wide enough.
        parts.append((sum(inside) / len(inside), wilson(sum(inside), len(inside)), len(inside)))
    (high, of_high, _), (low, of_low, _) = parts
    # From intervals of both parts: Newcombe, Statistics in Medicine 17 (1998), 873–890, method 10.
    below = high - low - math.hypot(high - of_high[0], of_low[1] - low)
    over = high - low + math.hypot(of_high[1] - high, low - of_low[0])
    found = [_row(one, name, "", "share named right", *part) for name, part in zip(HALVES, parts, strict=False)]
    return [*found, _row(one, HALVES[2], "", "difference", high - low, (below, over), len(numbers))]


def _row(
    one: Planned, series: str, x: Any, measure: str, value: float, interval: tuple[float, float] | None, n: int
) -> Row:
    low, high = interval or (None, None)
    known = {
        "question": "when",
        "experiment": EXPERIMENT,
        "property": one.target,
        "model": one.model,
        "series": series,
        "x": str(x),
        "x_number": float(x) if isinstance(x, int) else None,
        "measure": measure,
        "value": float(value),
        "low": low,
        "high": high,
        "n_runs": n,
    }
    return {**dict.fromkeys(COLUMNS), **known}
