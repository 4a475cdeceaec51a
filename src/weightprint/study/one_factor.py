"""From laboratory to everyday: what part of an accuracy is lost when networks differ in one factor alone.

Within one space, a meta-classifier fitted on runs without a level of a factor (one architecture, one normalization,
one half of the lengths of training) names the properties of runs with it, beside one fitted on as many runs with that
level, and one fitted on all training runs. All are tested on the same runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from weightprint.study.budgets import Budget
from weightprint.study.cells import Cells
from weightprint.study.paired import Row, rows_against
from weightprint.study.plans import CURVE_ITERATIONS, Facts, Planned, planned_trial
from weightprint.study.table import StudiedRun
from weightprint.study.trial import SHARES, Trial

NAME = "everyday"
FACTORS = ("architecture", "norm", "batch_norm", "steps", "image_form")
"""Properties that are factors where a zoo has them: kinds of network, normalization, length of training, form of the
images."""
LEAST_RUNS = 100
"""Converged runs of a level, without which it is left out."""
WITHIN, ACROSS, ALL = "as many with it", "as many without it", "all training runs"


def levels(runs: Sequence[StudiedRun], factor: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The levels of a factor that have enough runs on both sides, each with its values of the property.

    A number is halved at its median; anything else has a level for each of its values.
    """
    kept = [run.properties[factor] for run in runs if factor in run.properties and run.converged is not False]
    counts = Counter(kept)
    if len(counts) > len(kept) / 10:
        ordered = sorted(kept)
        middle = ordered[len(ordered) // 2]
        parts = {
            f"below {middle:,}": tuple(sorted(v for v in counts if v < middle)),
            f"{middle:,} and more": tuple(sorted(v for v in counts if v >= middle)),
        }
    else:
        parts = {str(value): (value,) for value in sorted(counts)}
    for name, values in parts.items():
        inside = sum(counts[v] for v in values)
        if min(inside, len(kept) - inside) >= LEAST_RUNS:
            yield name, values


def plan(facts: Facts, budget: Budget, zoos: Mapping[str, Sequence[StudiedRun]]) -> list[Planned]:
    """Three results for each factor, level and property; with the level comes first, it is what others are compared
    with."""
    planned, runs = [], zoos[""]
    for factor in FACTORS:
        for name, values in levels(runs, factor):
            every = {run.properties[factor] for run in runs if factor in run.properties}
            others = tuple(sorted(every - set(values)))
            inside = sum(run.properties.get(factor) in values and run.converged is not False for run in runs)
            outside = sum(run.properties.get(factor) in others and run.converged is not False for run in runs)
            arms = {
                WITHIN: (((factor, values),), min(1.0, outside / inside)),
                ACROSS: (((factor, others),), min(1.0, inside / outside)),
                ALL: ((), 1.0),
            }
            for target in facts.targets:
                if target == factor:
                    continue
                for arm, (where, share) in arms.items():
                    trial = Trial(
                        target,
                        split_seeds=budget.curve_seeds,
                        iterations=CURVE_ITERATIONS,
                        model="layer_trees",
                        train_where=where,
                        test_where=((factor, values),),
                        train_share=max(1, round(SHARES * share)) / SHARES,
                    )
                    planned.append(planned_trial(NAME, factor, trial, series=arm, xs=(name,)))
    return planned


def rows(planned: Sequence[Planned], cells: Cells, _: Mapping[str, Sequence[StudiedRun]]) -> list[Row]:
    """One row per result; "experiment" is the factor, "x" its level among the test runs, "series" what was fitted."""
    found: list[Row] = []
    for _key, arms in groupby(planned, key=lambda one: (one.experiment, one.xs, one.target)):
        several = list(arms)
        found += rows_against(several, cells, several[0], WITHIN)
    return found
