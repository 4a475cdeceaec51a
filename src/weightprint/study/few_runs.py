"""How few runs: accuracy against the number of training runs, and what a power law says of more of them.

The error on test runs falls like a + b n^(−c) with n training runs in much of machine learning, a being what no number
of runs takes away. Source: Hestness et al., "Deep learning scaling is predictable, empirically", arXiv 1712.00409
(2017), section 3. It is fitted by least squares with a, b ≥ 0 and c of EXPONENTS, again for every bootstrap resample of
test runs. The interval therefore says how well the measured errors settle the curve, not whether its form holds beyond
them; as a check, the curve through all points but the last is asked for the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import polars as pl

from weightprint.evaluation.answers import CLASSIFICATION, one_kind, per_run
from weightprint.evaluation.intervals import Statistic, bootstrap
from weightprint.evaluation.scores import r_squared
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cells
from weightprint.study.plans import Facts, Planned, Row, answers_in, as_it_comes, planned_trial, rows_against
from weightprint.study.table import StudiedRun

NAME = "few-runs"
MODELS = ("svm", "layer_trees", "slice_trees")
SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Of the training runs, in twentieths; a larger share holds the smaller ones of its split."""
MANY = 16_000
"""Training runs that the curve is asked for: about what the paper's release has."""
DRAWS = 3
"""Splits, at most: each draws test runs and training runs anew."""
LEAST_POINTS = 4
"""Of a curve that is fitted."""
EXPONENTS = np.geomspace(0.05, 3.0, 60)
"""Values of c that are tried."""


def plan(facts: Facts, budget: Budget, _: Mapping[str, Sequence[StudiedRun]]) -> list[Planned]:
    """One result for each property, model and share; every split draws other test runs and other training runs."""
    planned = []
    for target in (*facts.targets, *facts.numbers):
        for model in MODELS if target in facts.targets else ("layer_trees",):
            for share in SHARES:
                settings = {"split_seeds": budget.split_seeds[:DRAWS], "train_share": share}
                trial = as_it_comes(target, model, budget.slice_seconds, **settings)
                planned.append(planned_trial(NAME, "curve", trial, xs=(share,)))
    return planned


def rows(planned: Sequence[Planned], cells: Cells, _: Mapping[str, Sequence[StudiedRun]]) -> list[Row]:
    """The points of each curve, "x" their training runs, compared with all of them; and what the power law says.

    Experiment "extrapolated": the accuracy (R²) at MANY training runs; "check": at as many as there are, by the curve
    through the other points.
    """
    found: list[Row] = []
    for _key, several in groupby(planned, key=lambda one: (one.target, one.model)):
        curve, beyond = list(several), []
        points = rows_against(curve, cells, curve[-1], "all runs")
        tables = [answers_in(cells, one) for one in curve]
        if tables[-1] is not None:
            known = [(float(p["n_train_runs"]), t) for p, t in zip(points, tables, strict=True) if t is not None]
            beyond = _extrapolated(points[-1], known)
        for point in points:
            runs = point["n_train_runs"]
            point |= {"x": str(runs or point["x"]), "x_number": None if runs is None else float(runs)}
        found += [*points, *beyond]
    return found


def _extrapolated(last: Row, known: Sequence[tuple[float, pl.DataFrame]]) -> list[Row]:
    """The rows of what lies beyond a curve.

    last:  the row of all runs
    known: training runs and answers of each point
    """
    sizes = np.array([runs for runs, _ in known])
    shared = known[0][1].select("run").unique()
    for _, table in known:
        shared = shared.join(table.select("run").unique(), on="run")
    errors = [_error_of(table.join(shared, on="run", how="semi")) for _, table in known]
    n = len(shared)

    def measured(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.stack([of_point(counts) for of_point in errors], axis=1)  # [B, points]

    once = np.ones((1, n))
    fall = bootstrap(lambda counts: measured(counts)[:, 0] - measured(counts)[:, -1], n)
    reason = ""
    if len(known) < LEAST_POINTS:
        reason = f"{len(known)} points are too few for a curve"
    elif fall is None or fall[0] <= 0:
        reason = "the error does not surely fall from the fewest runs to all: there is no curve to go on"
    found = []
    for experiment, runs, points in (("extrapolated", float(MANY), len(known)), ("check", sizes[-1], len(known) - 1)):
        if points < min(LEAST_POINTS, len(known)):
            continue

        def at(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return 1 - predict(sizes[:points], measured(counts)[:, :points], runs)  # noqa: B023

        low, high = (None, None) if reason else bootstrap(at, n) or (None, None)
        value = None if reason else float(at(once)[0])
        row = {**last, "experiment": experiment, "x": f"{runs:.0f}", "x_number": runs, "n_runs": n, "seconds": None}
        found.append({**row, "value": value, "low": low, "high": high, "reason": reason or None, "left_out": None})
    return found


def _error_of(answers: pl.DataFrame) -> Statistic:
    """The error of one point of a curve for resamples of its runs, which are in the order of their names: the share
    named wrong, or 1 − R² of a number."""
    runs = per_run(answers).sort("run")
    truth, score, square = (runs[c].to_numpy() for c in ("truth", "score", "square_error"))
    if one_kind(answers) == CLASSIFICATION:
        return lambda counts: 1 - counts @ score / counts.sum(axis=1)
    return lambda counts: 1 - r_squared(truth, square, counts)


def predict(sizes: npt.NDArray[np.float64], errors: npt.NDArray[np.float64], size: float) -> npt.NDArray[np.float64]:
    """What the least-squares curves a + b n^(−c) through errors [B, points] at `sizes` [points] say at `size`: [B].

    a and b are 0 or more; c is the one of EXPONENTS that fits best. NaN for errors that are not known.
    """
    best = np.full(len(errors), np.inf)
    found = np.full(len(errors), np.nan)
    scale = sizes[-1]
    for exponent in EXPONENTS:
        falling = (sizes / scale) ** -exponent  # [points]
        at = (size / scale) ** -exponent
        centred = falling - falling.mean()
        b = np.maximum((errors @ centred) / (centred @ centred), 0)
        a = errors.mean(axis=1) - b * falling.mean()
        through_origin = (errors @ falling) / (falling @ falling)
        b, a = np.where(a < 0, through_origin, b), np.maximum(a, 0)
        loss = ((errors - a[:, None] - b[:, None] * falling) ** 2).sum(axis=1)
        better = loss < best
        best, found = np.where(better, loss, best), np.where(better, a + b * at, found)
    return found
