"""What a zoo holds, counted: statuses, values of the set-ups, lengths of training, a few training curves."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from weightprint.errors import ZooError
from weightprint.meta.targets import property_order
from weightprint.study.maps import spread
from weightprint.zoo.index import SCHEMA

if TYPE_CHECKING:
    from weightprint.zoo import Run, Zoo

MOST_VALUES = 12
"""A property with more values than this is not counted value by value."""
MOST_METADATA = 200
"""Runs whose metadata are read for the length of training."""
MOST_CURVES = 6
"""Data sets whose runs' training curves are read, and runs of each."""
ALL_RUNS = "all runs"

COUNTS = (
    pl.len().alias("runs"),
    pl.col("converged").sum(),
    (~pl.col("converged")).sum().alias("not_converged"),
    pl.col("converged").null_count().alias("unknown"),
)
"""Of runs: how many, and how many are known to have converged, known not to have, or not known to."""


@dataclass(frozen=True)
class Curve:
    """One run's accuracy against the length of its training.

    number: of the run
    x, y:   [E]; epochs (or steps, or evaluations) and shares of 1
    """

    number: int
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """A few runs' curves per data set, with the names of both axes.

    unreadable: runs chosen for them that could not be read
    """

    per_dataset: dict[str, list[Curve]]
    x_name: str
    y_name: str
    unreadable: int


def status_rows(zoo: Zoo) -> list[dict[str, Any]]:
    """Per "status": COUNTS."""
    return zoo.index.group_by("status").agg(*COUNTS).sort("status").to_dicts()


def value_rows(zoo: Zoo) -> list[dict[str, Any]]:
    """Per "value" of each "property" that has 2 to MOST_VALUES: COUNTS over the complete runs, and the "median" of
    their final test accuracies."""
    complete = _complete(zoo)
    median = pl.col("final_test_accuracy").median().alias("median")
    rows = []
    for name in _properties(zoo):
        groups = complete.drop_nulls(name).group_by(name).agg(*COUNTS, median).sort(name)
        if 2 <= len(groups) <= MOST_VALUES:
            rows += [{**row, "property": name, "value": value_text(row[name])} for row in groups.to_dicts()]
    return rows


def constant_values(zoo: Zoo) -> list[tuple[str, str]]:
    """Properties that have one and the same value in all complete runs."""
    complete = _complete(zoo)
    values = {name: complete[name].drop_nulls().unique() for name in _properties(zoo)}
    return [(name, value_text(value[0])) for name, value in values.items() if len(value) == 1]


def _complete(zoo: Zoo) -> pl.DataFrame:
    return zoo.select(status="complete").index


def _properties(zoo: Zoo) -> list[str]:
    """Those that the index has of its runs."""
    return property_order([dict.fromkeys(name for name in zoo.index.columns if name not in SCHEMA)])


def value_text(value: Any) -> str:
    """A property's value as text; truth values as on and off."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def convergence_text(zoo: Zoo) -> str:
    """What the convergence filter does to a zoo, in a sentence; "" without complete runs."""
    (counts,) = _complete(zoo).select(*COUNTS).to_dicts()
    if not counts["runs"]:
        return ""
    text = f"The convergence filter removes {counts['not_converged']} of {counts['runs']} complete runs"
    rows = [row for row in value_rows(zoo) if row["not_converged"]]
    if not rows:
        return f"{text}."
    worst = max(rows, key=lambda row: row["not_converged"] / row["runs"])
    name = worst["property"].replace("_", " ")
    return f"{text}, most often with {name} {worst['value']}: {worst['not_converged']} of {worst['runs']}."


def final_accuracies(zoo: Zoo) -> dict[str, list[tuple[float, bool | None]]]:
    """Per data set the (final test accuracy, converged) of its complete runs, in the order of their numbers.

    Data sets beyond the MOST_VALUES with most runs are left out.
    """
    known = _with_dataset(zoo).drop_nulls("final_test_accuracy")
    kept = known["dataset"].value_counts().sort("count", "dataset", descending=[True, False])["dataset"]
    return {
        name: known.filter(pl.col("dataset") == name).select("final_test_accuracy", "converged").rows()
        for name in sorted(kept[:MOST_VALUES])
    }


def _with_dataset(zoo: Zoo) -> pl.DataFrame:
    """The complete runs, by their data set as text; in a zoo that does not know it, all are ALL_RUNS."""
    complete = _complete(zoo).sort("number")
    known = pl.col("dataset").cast(pl.String) if "dataset" in complete.columns else pl.lit(None, pl.String)
    return complete.with_columns(dataset=known.fill_null(ALL_RUNS))


def training_curves(zoo: Zoo) -> Curves:
    """Curves of a few complete runs per data set: evenly spread over the runs ordered by final test accuracy."""
    runs = _with_dataset(zoo).sort("final_test_accuracy", "number", nulls_last=False)
    per_dataset: dict[str, list[Curve]] = {}
    unreadable = 0
    names: tuple[str, str] | None = None
    for dataset in sorted(runs["dataset"].unique())[:MOST_CURVES]:
        for number in spread(runs.filter(pl.col("dataset") == dataset)["number"].to_list(), MOST_CURVES):
            try:
                run = zoo[number]
                axes = _axes(run)
                values = run.curve if axes else None
            except ZooError:
                unreadable += 1
                continue
            names = names or axes
            if axes is None or axes != names or values is None or len(values) < 2:
                continue
            x, y = (
                values[:, run.curve_columns.index(name)] if name in run.curve_columns else np.arange(float(len(values)))
                for name in axes
            )
            per_dataset.setdefault(dataset, []).append(Curve(number, x, y))
    return Curves(per_dataset, *(names or ("epoch", "test_accuracy")), unreadable)


def _axes(run: Run) -> tuple[str, str] | None:
    """What a run's curve is drawn over, and of what; None without an accuracy."""
    y = next((c for c in ("test_accuracy", "validation_accuracy") if c in run.curve_columns), None)
    x = next((c for c in ("epoch", "step") if c in run.curve_columns), "evaluation")
    return (x, y) if y else None


def training_lengths(zoo: Zoo) -> dict[str, list[float]]:
    """Last epoch and last step of complete runs, where both are known: {"epoch": […], "step": […]}."""
    last: list[Mapping[str, Any]] = []
    for number in spread(zoo.select(status="complete").numbers, MOST_METADATA):
        with suppress(ZooError):
            last += zoo[number].measurements[-1:]
    names = ("epoch", "step")
    known = [row for row in last if all(isinstance(row.get(name), (int, float)) for name in names)]
    return {name: [float(row[name]) for row in known] for name in names}
