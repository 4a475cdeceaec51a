"""Identity or moments: what is read when a data set is named from weights.

Zoos sampled from variants of the same data sets (`weightprint.images.variants`: disjoint halves, channels of one mean
and variance, grey) stand beside a zoo of the originals, or of the other half. What is learnt on the one names the data
sets of the other, beside what is learnt on as many runs of the other itself; with all weights and without moving
statistics, which describe the images' moments outright.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weightprint.errors import MetaError
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cells
from weightprint.study.plans import Facts, Planned, Row, as_many, curve, planned_trial, rows_of_arms
from weightprint.study.table import StudiedRun

NAME = "identity"
TARGET = "dataset"
WITHIN, ACROSS = "as many runs of the same zoo", "runs of the other zoo"
LEFT_OUT = {"all weights": (), "without moving statistics": ("moving_statistics",)}


def plan(facts: Facts, budget: Budget, runs: Mapping[str, Sequence[StudiedRun]]) -> list[Planned]:
    """Both directions between the zoo and each other one, with what is fitted on the tested zoo itself first.

    Raises MetaError without another zoo, or where the data set is no property of several values.
    """
    if not facts.others or TARGET not in facts.targets:
        raise MetaError(
            "identity compares zoos of several data sets and of variants of them",
            hint="weightprint data vary, sample, then --against with the variants' zoos",
        )
    planned = []
    names = facts.zoos
    runs_in = {key: sum(run.converged is not False for run in runs[key]) for key in names}
    for other in facts.others:
        for train, test in (("", other), (other, "")):
            for kept, without in LEFT_OUT.items():
                for series, zoo in ((WITHIN, test), (ACROSS, train)):
                    settings = {
                        "without": without,
                        "split_seeds": budget.split_seeds,
                        "train_share": as_many(min(runs_in[train], runs_in[test]), runs_in[zoo]),
                    }
                    trial = curve(TARGET, budget, train_zoo=zoo, test_zoo=test, **settings)
                    planned.append(planned_trial(NAME, kept, trial, series, (f"{names[train]} → {names[test]}",)))
    return planned


def rows(planned: Sequence[Planned], cells: Cells, _: Mapping[str, Sequence[StudiedRun]]) -> list[Row]:
    """One row per result; "experiment" is what was read, "x" which zoo is trained on and which tested, "series"
    whether the tested zoo itself was trained on instead."""
    return rows_of_arms(planned, cells, WITHIN)
