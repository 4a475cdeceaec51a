"""What a study wants to know of a zoo, as a list of results to have; and those results as rows of one tidy table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl

from weightprint.evaluation.answers import from_json
from weightprint.evaluation.comparison import difference
from weightprint.meta.models import learner_class, model_named
from weightprint.meta.targets import MOST_CLASSES, common_values, property_order
from weightprint.meta.view import WHOLE
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cell, Cells
from weightprint.study.table import FeatureTable
from weightprint.study.trial import SHARES, Trial

ACCURACY = "test_accuracy"
"""What is measured in networks and estimated like a property."""

TRIAL = "trial"
"""The kind of a trial's cell."""

THIS_ZOO = "this zoo"
"""The studied zoo's name among several."""

CURVE_ITERATIONS = 60
"""Of the trees in curves, where no time goes into choosing the number."""

COLUMNS = {
    "question": "which of the study's questions: how_much, where, when, transfer or controls",
    "experiment": "which experiment of it",
    "property": "what is predicted",
    "model": "the meta-classifier",
    "series": "what tells curves of one experiment apart",
    "x": "where on the curve, as text",
    "x_number": "the same as a number; null where it is none",
    "measure": "accuracy, or r2 for a number; where an experiment measures something else, its name",
    "value": "of the measure, over test runs",
    "low": "lower end of its 95 % interval",
    "high": "upper end",
    "chance": "accuracy of guessing",
    "majority": "accuracy of always answering the test runs' most frequent class",
    "n_runs": "test runs, each counted once",
    "n_train_runs": "training runs of the smallest fit",
    "seconds": "of all fits and tests of the result",
    "reason": "why there is no value; null where there is one",
    "left_out": "runs that could not take part, by reason: 3 kin, 2 no_such_snapshot; null where there is none",
}
"""The columns of results.parquet and what they hold."""

COMPARED = {
    "reference": "what it is compared with; null for nothing",
    "difference": "its accuracy (of a number, its mean absolute error) minus that, on the same runs",
    "difference_low": "lower end of its paired 95 % interval",
    "difference_high": "upper end",
    "n_compared": "runs that both were tested on",
    "p_value": "of McNemar's exact test",
}
"""Further columns of results that are compared with another one."""


Row = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What the plans need to know of a zoo.

    targets:   properties that are classified, then numbers that are regressed
    snapshots: T, the most that a run has
    tensors:   tensor → kind and part, in forward order
    values:    property that at least half of the runs have → its values, sorted
    length:    P of the shortest network
    lengths_differ: whether others are longer
    runs:      how many
    others:    zoos that are compared with this one: fingerprint → name of the folder
    data:      folder of the images that the runs were trained on, where it is given
    """

    targets: tuple[str, ...]
    numbers: tuple[str, ...]
    snapshots: int
    tensors: Mapping[str, Mapping[str, str]]
    values: Mapping[str, tuple[Any, ...]]
    length: int
    lengths_differ: bool
    runs: int
    others: Mapping[str, str] = field(default_factory=dict)
    data: str | None = None

    @property
    def zoos(self) -> dict[str, str]:
        """The names of all zoos by fingerprint; the one that is studied is ""."""
        return {"": THIS_ZOO, **self.others}

    @classmethod
    def of(cls, table: FeatureTable, most: int, others: Mapping[str, str], data: str | None) -> Facts:
        """The facts of a table, with at most `most` properties."""
        values = {name: tuple(sorted(set(known))) for name, known in common_values(table.runs).items()}
        ordered = property_order([values])
        targets = [name for name in ordered if 2 <= len(values[name]) <= MOST_CLASSES]
        numbers = [n for n in ordered if len(values[n]) > MOST_CLASSES and isinstance(values[n][0], (int, float))]
        measured = {name for run in table.runs for row in run.measurements[:1] for name in row}
        lengths = {run.layout.size for run in table.runs}
        numbers += [ACCURACY] if ACCURACY in measured and ACCURACY not in values else []
        return cls(
            targets=tuple(targets[:most]),
            numbers=tuple(numbers[:most]),
            snapshots=table.snapshots,
            tensors=table.tensors,
            values=values,
            length=min(lengths),
            lengths_differ=len(lengths) > 1,
            runs=len(table.runs),
            others=others,
            data=data,
        )


def versions_of(name: str) -> dict[str, int]:
    """Of the code that a result of this model stands on: its features and its learner."""
    model = model_named(name)
    return {
        f"features {model.features}": model.reads.version,
        f"learner {model.learner}": learner_class(model.learner).version,
    }


@dataclass(frozen=True)
class Planned:
    """One result that a study wants, and where it stands in the table of results.

    xs: one for each score of the result; those of the result itself ("xs", and "series") where it brings them
    """

    question: str
    experiment: str
    target: str
    model: str
    series: str
    xs: tuple[Any, ...]
    cell: Cell


def planned_trial(question: str, experiment: str, trial: Trial, series: Any = "", xs: Sequence[Any] = ("",)) -> Planned:
    """A result that one trial gives."""
    cell = Cell(TRIAL, asdict(trial), trial.cost, versions_of(trial.model), trial)
    return Planned(question, experiment, trial.target, trial.model, str(series), tuple(xs), cell)


def curve(target: str, budget: Budget, **changes: Any) -> Trial:
    """A trial of an experiment with many: trees on what layers look like, in the splits of curves."""
    usual = {"model": "layer_trees", "split_seeds": budget.curve_seeds, "iterations": CURVE_ITERATIONS}
    return Trial(target, **{**usual, **changes})


def as_it_comes(target: str, model: str, budget_seconds: float | None, **changes: Any) -> Trial:
    """A trial of a model that reads what it reads by default, in so many seconds for each fit."""
    length = model_named(model).defaults.get("slice_length", WHOLE)
    iterations = CURVE_ITERATIONS if model.endswith("trees") else None
    limits = {"iterations": iterations, "max_seconds": budget_seconds}
    return Trial(target, model=model, slice_length=length, **limits, **changes)  # type: ignore[arg-type]


def as_many(wanted: int, runs: int) -> float:
    """The share of so many runs that is about as many as wanted, in the parts into which a trial deals them."""
    return max(1, round(SHARES * min(1.0, wanted / max(runs, 1)))) / SHARES


def moments_of(last: int, most: int) -> tuple[int, ...]:
    """At most so many numbers of snapshots, evenly spread from the first to the last."""
    return tuple(int(number) for number in np.unique(np.linspace(1, last, min(most, last)).round()))


def rows(planned: Sequence[Planned], cells: Cells) -> list[dict[str, Any]]:
    """The results that are there, one row per score; columns are COLUMNS."""
    table_rows: list[dict[str, Any]] = []
    for one in planned:
        result = cells.get(one.cell)
        if result is None:
            continue
        xs = result.get("xs", one.xs)
        series = result.get("series", [one.series] * len(xs))
        for x, name, score in zip(xs, series, result.get("scores") or [{}] * len(xs), strict=True):
            reason = score.get("reason") or result.get("reason")
            left_out = describe(score.get("left_out") or {})
            table_rows.append(
                row(one, x, score, series=name, seconds=result.get("seconds"), reason=reason, left_out=left_out)
            )
    return table_rows


def row(one: Planned, x: Any, score: Mapping[str, Any], **columns: Any) -> dict[str, Any]:
    """One row with the columns COLUMNS: those of the plan and of the score, but for what `columns` says otherwise."""
    planned = {
        "question": one.question,
        "experiment": one.experiment,
        "property": one.target,
        "model": one.model,
        "series": one.series,
        "x": str(x),
        "x_number": float(x) if isinstance(x, (int, float)) and not isinstance(x, bool) else None,
    }
    scored = {name: value for name, value in score.items() if name in COLUMNS}
    return {**dict.fromkeys(COLUMNS), **planned, **scored, **columns}


def describe(left_out: Mapping[str, int]) -> str | None:
    """Counts by reason as one phrase; None for none."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()) if count) or None


def compared(document: Mapping[str, Any] | None, reference: str) -> Row:
    """The columns COMPARED of what `weightprint.evaluation.comparison.difference` found; nulls for nothing."""
    if not document:
        return dict.fromkeys(COMPARED)
    low, high = document["interval"] or (None, None)
    values = (reference, document["difference"], low, high, document["n_runs"], document["mcnemar"]["p_value"])
    return dict(zip(COMPARED, values, strict=True))


def answers_in(cells: Cells, one: Planned, score: int = 0) -> pl.DataFrame | None:
    """The table of answers of one of a result's scores, without probabilities; None where it is not there."""
    kept = (cells.get(one.cell) or {}).get("answers") or []
    return from_json(kept[score]) if len(kept) > score and kept[score] is not None else None


def rows_against(planned: Sequence[Planned], cells: Cells, reference: Planned, name: str) -> list[Row]:
    """The rows of results of one score each, compared with another result that is called `name`."""
    found = []
    known = answers_in(cells, reference)
    for one in planned:
        answers = answers_in(cells, one)
        several = answers is not None and known is not None and one is not reference
        document = difference(answers, known) if several else None  # type: ignore[arg-type]
        found += [{**row, **compared(document, name)} for row in rows([one], cells)]
    return found


def rows_of_arms(planned: Sequence[Planned], cells: Cells, name: str) -> list[Row]:
    """One row per result, compared with the first one of its experiment, place and property, which is called `name`."""
    found: list[Row] = []
    for _, arms in groupby(planned, key=lambda one: (one.experiment, one.xs, one.target)):
        first, *others = arms
        found += rows_against([first, *others], cells, first, name)
    return found
