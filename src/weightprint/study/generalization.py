"""Whether weights tell how well a network does: its test accuracy and its generalization gap, within each data set.

Over several data sets together most of what can be said of an accuracy is which data set it is of. So a
meta-classifier that is fitted on all data sets is scored within each alone, beside one that reads the other choices of
the set-up and no weights; and one that is fitted on all data sets but one is scored on that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from weightprint.errors import MetaError
from weightprint.evaluation.comparison import difference
from weightprint.evaluation.scores import value_scores
from weightprint.meta.targets import GENERALIZATION_GAP
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cells
from weightprint.study.plans import ACCURACY, Facts, Planned, Row, answers_in, compared, curve, planned_trial, row
from weightprint.study.table import StudiedRun
from weightprint.study.trial import Trial

NAME = "generalization"
DATASET = "dataset"
TARGETS = (ACCURACY, GENERALIZATION_GAP)
KNOWN, NEVER_SEEN = "data set fitted on", "data set never seen"
BLIND = "fields"
"""The model that reads the other choices of the set-up and no weights."""
MODELS = ("layer_trees", BLIND)
UNSEEN = "unseen"
"""After a model's name: fitted without the data set that is tested."""
TOGETHER = "all together"
MEASURES = ("r2", "kendall_tau", "tau_ceiling")
LEAST_RUNS = 10
"""Test runs of a data set, without which it is left out."""


def plan(facts: Facts, budget: Budget, runs: Mapping[str, Sequence[StudiedRun]]) -> list[Planned]:
    """For each quantity what is fitted on all data sets, by each model; then one fit without each data set.

    Raises MetaError where the runs' accuracies were not measured.
    """
    measured = {name for run in runs[""] for name in run.measurements[-1]} if runs[""] else set()
    if not {"train_accuracy", ACCURACY} <= measured:
        raise MetaError("generalization needs runs whose accuracies were measured", hint="a zoo that was sampled")
    planned = []
    for target in TARGETS:
        for model in MODELS:
            trial = Trial(target, split_seeds=budget.split_seeds, model=model)
            planned.append(planned_trial(NAME, KNOWN, trial))
        for value in facts.values.get(DATASET, ()) if len(facts.values.get(DATASET, ())) > 2 else ():
            others = tuple(v for v in facts.values[DATASET] if v != value)
            where = {"train_where": ((DATASET, others),), "test_where": ((DATASET, (value,)),)}
            for model in MODELS:
                trial = curve(target, budget, model=model, split_seeds=(0,), **where)
                planned.append(planned_trial(NAME, NEVER_SEEN, trial, xs=(value,)))
    return planned


def rows(planned: Sequence[Planned], cells: Cells, runs: Mapping[str, Sequence[StudiedRun]]) -> list[Row]:
    """A row for each result, data set ("x") and measure: R², Kendall's τ-b, and the most that τ-b can be with these
    ties; "experiment" is whether the data set was fitted on, "series" the model with it. Rows of R² are compared with
    the model that reads no weights, by mean absolute error on the same runs."""
    datasets = {run.identity: run.properties.get(DATASET) for run in runs[""]}
    found: list[Row] = []
    for one in planned:
        blind = next(o for o in planned if o.model == BLIND and _asked(o) == _asked(one))
        parts, references = (_by_dataset(answers_in(cells, o), datasets) for o in (one, blind))
        for value, part in parts.items():
            if one.experiment == KNOWN or value != TOGETHER:
                found += _rows_of(one, value, part, references.get(value))
    return found


def _asked(one: Planned) -> tuple[Any, ...]:
    """What is asked, of whichever model."""
    return one.experiment, one.target, one.xs


def _by_dataset(answers: pl.DataFrame | None, datasets: Mapping[str, Any]) -> dict[Any, pl.DataFrame]:
    """The answers on all runs, and on those of each data set with enough of them."""
    if answers is None:
        return {}
    parts = {TOGETHER: answers}
    for value in sorted({datasets[run] for run in answers["run"]}, key=str):
        parts[value] = answers.filter(pl.col("run").is_in([run for run, name in datasets.items() if name == value]))
    return {value: part for value, part in parts.items() if part["run"].n_unique() >= LEAST_RUNS}


def _rows_of(one: Planned, x: Any, answers: pl.DataFrame, reference: pl.DataFrame | None) -> Iterator[Row]:
    found = value_scores(answers, MEASURES)
    series = one.model if one.experiment == KNOWN else f"{one.model}, {UNSEEN}"
    for measure in MEASURES:
        low, high = found[measure]["interval"] or (None, None)
        score = {"measure": measure, "value": found[measure]["value"], "low": low, "high": high, "n_runs": found["n"]}
        versus = None
        if measure == MEASURES[0] and reference is not None and one.model != BLIND:
            versus = difference(answers, reference)
        yield {**row(one, x, score, series=series), **compared(versus, BLIND)}
