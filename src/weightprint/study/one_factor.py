"""From laboratory to everyday: what part of an accuracy is lost when networks differ in one factor alone.

Within one space, a meta-classifier fitted on runs without a level of a factor (one architecture, one normalization,
one half of the lengths of training) names the properties of runs with it, beside one fitted on as many runs with that
level, and one fitted on all training runs. All are tested on the same runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weightprint.study.budgets import Budget
from weightprint.study.cells import Cells
from weightprint.study.plans import Facts, Planned, Row, as_many, curve, planned_trial, rows_of_arms
from weightprint.study.table import StudiedRun

NAME = "everyday"
FACTORS = ("architecture", "norm", "batch_norm", "steps", "image_form")
"""Properties that are factors where a zoo has them: kinds of network, normalization, length of training, form of the
images."""
LEAST_RUNS = 100
"""Converged runs of a level, without which it is left out."""
WITHIN, ACROSS, ALL = "as many with it", "as many without it", "all training runs"


def levels(runs: Sequence[StudiedRun], factor: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The levels of a factor that have enough runs on both sides, each with its values of the property.

    A number of many values is halved at its median; anything else has a level for each of its values.
    """
    counts = _counts(runs, factor)
    total = counts.total()
    if len(counts) > total / 10 and all(isinstance(value, (int, float)) for value in counts):
        middle = sorted(counts.elements())[total // 2]
        parts = {
            f"below {middle:,}": tuple(sorted(v for v in counts if v < middle)),
            f"{middle:,} and more": tuple(sorted(v for v in counts if v >= middle)),
        }
    else:
        parts = {str(value): (value,) for value in sorted(counts)}
    for name, values in parts.items():
        inside = sum(counts[v] for v in values)
        if min(inside, total - inside) >= LEAST_RUNS:
            yield name, values


def _counts(runs: Sequence[StudiedRun], factor: str) -> Counter[Any]:
    """Of each value the runs that may be trained on."""
    return Counter(run.properties[factor] for run in runs if factor in run.properties and run.converged is not False)


def plan(facts: Facts, budget: Budget, zoos: Mapping[str, Sequence[StudiedRun]]) -> list[Planned]:
    """Three results for each factor, level and property; with the level comes first, it is what others are compared
    with."""
    planned, runs = [], zoos[""]
    for factor in FACTORS:
        counts = _counts(runs, factor)
        every = {run.properties[factor] for run in runs if factor in run.properties}
        for name, values in levels(runs, factor):
            others = tuple(sorted(every - set(values)))
            inside = sum(counts[v] for v in values)
            outside = counts.total() - inside
            arms = {
                WITHIN: (((factor, values),), as_many(outside, inside)),
                ACROSS: (((factor, others),), as_many(inside, outside)),
                ALL: ((), 1.0),
            }
            for target in facts.targets:
                for arm, (where, share) in arms.items() if target != factor else ():
                    settings = {"train_where": where, "test_where": ((factor, values),), "train_share": share}
                    planned.append(planned_trial(NAME, factor, curve(target, budget, **settings), arm, (name,)))
    return planned


def rows(planned: Sequence[Planned], cells: Cells, _: Mapping[str, Sequence[StudiedRun]]) -> list[Row]:
    """One row per result; "experiment" is the factor, "x" its level among the test runs, "series" what was fitted."""
    return rows_of_arms(planned, cells, WITHIN)
