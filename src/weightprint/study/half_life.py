"""Half-life: whether epochs or steps are the clock by which a footprint fades, and when it can no longer be read.

One meta-classifier for each moment of training (a snapshot's number), fitted and tested at that moment, in this zoo and
in each other one, such as one of longer training. Runs of one moment have had about as many epochs and, by their batch
size, more or fewer steps. Over all moments after the first step, whether a run is named right is regressed on the
logarithms of both: the clock is the one that takes the other's coefficient away. Before the first step nothing but the
initialization is there to fade.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from weightprint.evaluation.answers import per_run
from weightprint.evaluation.claims import above
from weightprint.evaluation.intervals import bootstrap
from weightprint.evaluation.scores import accuracy_interval
from weightprint.study import plans
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cells
from weightprint.study.plans import Facts, Planned, Row, answers_in, curve, moments_of, planned_trial
from weightprint.study.table import StudiedRun

NAME = "half-life"
BATCH_SIZE = "batch_size"
CLOCKS = ("epoch", "step")
BY_BATCH, SLOPE, LAST_READABLE = "by batch size", "slope", "last readable"


def plan(facts: Facts, budget: Budget, runs: Mapping[str, Sequence[StudiedRun]]) -> list[Planned]:
    """One result for each zoo, property and moment."""
    last = {key: max(len(run.measurements) for run in runs[key]) for key in facts.zoos}
    planned = []
    for target in facts.targets:
        for key, name in facts.zoos.items():
            for moment in moments_of(last[key], budget.snapshots):
                at = {"train_snapshots": (moment, moment), "test_snapshots": ((moment, moment),)}
                trial = curve(target, budget, **at, train_zoo=key, test_zoo=key)
                planned.append(planned_trial(NAME, "moments", trial, name, (moment,)))
    return planned


def rows(planned: Sequence[Planned], cells: Cells, runs: Mapping[str, Sequence[StudiedRun]]) -> list[Row]:
    """The moments of each zoo ("series"), their "x_number" the median steps of the runs tested; what they say together:

    BY_BATCH:      a row per moment and batch size; "x" is "zoo, batch size, epochs", "x_number" the steps
    SLOPE:         a row per clock ("x"): points of accuracy lost or won with each doubling, the other clock held; not
                   of the batch size itself, which is what tells the clocks apart
    LAST_READABLE: a row per clock: where the whole interval lies above chance and majority for the last time
    """
    found: list[Row] = []
    for (_, series), moments in groupby(planned, key=lambda one: (one.target, one.series)):
        several = list(moments)
        known = {run.identity: run for run in runs[several[0].cell.settings["train_zoo"]]}
        of_moments = plans.rows(several, cells)
        tested = list(_tested(several, cells, known))
        if not tested:
            found += of_moments
            continue
        by_moment = groupby(tested, key=lambda one: one["moment"])
        steps = {moment: float(np.median([t["step"] for t in of_it])) for moment, of_it in by_moment}
        found += [{**row, "x_number": steps.get(int(row["x"]))} for row in of_moments]
        base = {**of_moments[0], "seconds": None, "left_out": None, "reason": None}
        found += _by_batch(base, series, tested)
        if base["property"] != BATCH_SIZE:  # at equal epochs it is the steps: its own classes, not a clock
            found += _slopes(base, [t for t in tested if t["step"]])
        readable = [m for m, row in zip(several, of_moments, strict=True) if row["value"] is not None and above(row)]
        for clock in CLOCKS if readable else ():
            at = [t[clock] for t in tested if t["moment"] == readable[-1].xs[0]]
            row = {**base, "experiment": LAST_READABLE, "x": clock, "x_number": None, "measure": f"median {clock}"}
            found.append({**row, "value": float(np.median(at)), "low": None, "high": None, "n_runs": len(at)})
    return found


def _tested(several: Sequence[Planned], cells: Cells, known: Mapping[str, StudiedRun]) -> Iterator[dict[str, Any]]:
    """Each run at each moment: {"run", "moment", "epoch", "step", "batch_size", "score"}."""
    for one in several:
        answers = answers_in(cells, one)
        if answers is None:
            continue
        for run, score in per_run(answers).select("run", "score").rows():
            row = known[run].measurements[one.xs[0] - 1]
            if all(clock in row for clock in CLOCKS):
                clocks = {clock: float(row[clock]) for clock in CLOCKS}
                batch = known[run].properties.get(BATCH_SIZE)
                yield {"run": run, "moment": one.xs[0], "batch_size": batch, "score": score, **clocks}


def _by_batch(base: Row, series: str, tested: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    table = pl.DataFrame(tested).sort("batch_size", "moment")
    for (batch, _), of_group in table.group_by("batch_size", "moment", maintain_order=True):
        scores = of_group["score"].to_numpy()
        epoch, step = (float(np.median(of_group[clock].to_numpy())) for clock in CLOCKS)
        low, high = accuracy_interval(scores)
        row = {**base, "experiment": BY_BATCH, "series": f"{series}, batch size {batch}", "x": f"{epoch:g} epochs"}
        yield {**row, "x_number": step, "value": float(scores.mean()), "low": low, "high": high, "n_runs": len(scores)}


def _slopes(base: Row, tested: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Least squares of scores on log2 of 1 + epochs and 1 + steps; the bootstrap draws runs with all their moments."""
    names = {name: i for i, name in enumerate(dict.fromkeys(t["run"] for t in tested))}
    of_run = np.array([names[t["run"]] for t in tested])
    design = np.stack([np.ones(len(tested)), *(np.log2([1 + t[clock] for t in tested]) for clock in CLOCKS)], axis=1)
    scores = np.array([t["score"] for t in tested])
    left, right = np.zeros((len(names), 3, 3)), np.zeros((len(names), 3))
    np.add.at(left, of_run, design[:, :, None] * design[:, None, :])
    np.add.at(right, of_run, design * scores[:, None])
    if np.linalg.matrix_rank(left.sum(axis=0)) < 3:
        return []  # one batch size alone: the clocks go alike

    def slopes(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        gram = np.tensordot(counts, left, 1)
        return (np.linalg.pinv(gram) @ np.tensordot(counts, right, 1)[:, :, None])[:, :, 0]

    found = []
    for i, clock in enumerate(CLOCKS, start=1):
        low, high = bootstrap(lambda counts: slopes(counts)[:, i], len(names)) or (None, None)  # noqa: B023
        value = float(slopes(np.ones((1, len(names))))[0, i])
        row = {**base, "experiment": SLOPE, "x": clock, "x_number": None, "measure": "accuracy per doubling"}
        row |= {"value": value, "low": low, "high": high, "chance": None, "majority": None, "n_runs": len(names)}
        found.append(row)
    return found
