"""What a zoo holds, counted for a reader: statuses, values of the set-ups, lengths of training, a few curves."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

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
ALL_RUNS = "all runs"


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
    """A few runs' curves per data set, with the names of both axes."""

    per_dataset: dict[str, list[Curve]]
    x_name: str
    y_name: str
    unreadable: int


def status_rows(zoo: Zoo) -> list[dict[str, Any]]:
    """Runs per status, and of each how many are known to have learned, not to have, or are not known to."""
    rows = [{"status": s, "converged": c} for s, c in zip(zoo.index["status"], zoo.index["converged"], strict=True)]
    return [
        {"status": status, "runs": count, **_converged_counts([r for r in rows if r["status"] == status])}
        for status, count in sorted(Counter(row["status"] for row in rows).items())
    ]


def value_rows(zoo: Zoo) -> list[dict[str, Any]]:
    """Per value of each property: complete runs, converged ones, median final test accuracy.

    Properties with one value only are left to `constant_values`.
    """
    complete = zoo.select(status="complete").index.to_dicts()
    rows = []
    for name in _properties(zoo):
        groups = _by_value(complete, name)
        if not 2 <= len(groups) <= MOST_VALUES:
            continue
        for i, (value, members) in enumerate(groups.items()):
            accuracies = [m["final_test_accuracy"] for m in members if m["final_test_accuracy"] is not None]
            rows.append(
                {
                    "property": name,
                    "first": i == 0,
                    "value": value,
                    "runs": len(members),
                    "median": statistics.median(accuracies) if accuracies else None,
                    **_converged_counts(members),
                }
            )
    return rows


def constant_values(zoo: Zoo) -> list[tuple[str, str]]:
    """Properties that have one and the same value in all complete runs."""
    complete = zoo.select(status="complete").index.to_dicts()
    groups = {name: _by_value(complete, name) for name in _properties(zoo)}
    return [(name, next(iter(values))) for name, values in groups.items() if len(values) == 1]


def _properties(zoo: Zoo) -> list[str]:
    """Those that the index has of its runs."""
    return property_order([dict.fromkeys(name for name in zoo.index.columns if name not in SCHEMA)])


def _by_value(rows: Iterable[dict[str, Any]], name: str) -> dict[str, list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        if row.get(name) is not None:
            groups.setdefault(row[name], []).append(row)
    try:
        ordered = sorted(groups)
    except TypeError:
        ordered = sorted(groups, key=str)
    return {value_text(value): groups[value] for value in ordered}


def value_text(value: Any) -> str:
    """A property's value as text; truth values as on and off."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _converged_counts(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    counts = Counter(row["converged"] for row in rows)
    return {"converged": counts[True], "not_converged": counts[False], "unknown": counts[None]}


def removed_by_filter(zoo: Zoo) -> tuple[int, int, list[tuple[str, int, int]]]:
    """(complete runs that the convergence filter removes, complete runs, [(initialization, removed, complete)])."""
    complete = zoo.select(status="complete").index.to_dicts()
    groups = _by_value(complete, "initialization")
    rows = [(value, _converged_counts(m)["not_converged"], len(m)) for value, m in groups.items()]
    return _converged_counts(complete)["not_converged"], len(complete), rows


def final_accuracies(zoo: Zoo) -> dict[str, list[tuple[float, bool | None]]]:
    """Per data set the (final test accuracy, converged) of its complete runs, in the order of their numbers.

    Data sets beyond the MOST_VALUES with most runs are left out.
    """
    groups: dict[str, list[tuple[float, bool | None]]] = {}
    for row in zoo.select(status="complete").index.to_dicts():
        if row["final_test_accuracy"] is not None:
            groups.setdefault(_dataset(row.get("dataset")), []).append((row["final_test_accuracy"], row["converged"]))
    kept = sorted(groups, key=lambda name: (-len(groups[name]), name))[:MOST_VALUES]
    return {name: groups[name] for name in sorted(kept)}


def _dataset(value: Any) -> str:
    return ALL_RUNS if value is None else str(value)


def training_curves(zoo: Zoo, *, per_dataset: int = 6, datasets: int = 6) -> Curves:
    """Curves of a few complete runs per data set: evenly spread over the runs ordered by final test accuracy."""
    groups: dict[str, list[tuple[float, int]]] = {}
    for row in zoo.select(status="complete").index.to_dicts():
        accuracy = row["final_test_accuracy"]
        groups.setdefault(_dataset(row.get("dataset")), []).append(
            (-1.0 if accuracy is None else accuracy, row["number"])
        )
    found: dict[str, list[Curve]] = {}
    unreadable = 0
    names: tuple[str, str] | None = None
    for name in sorted(groups)[:datasets]:
        for _, number in spread(sorted(groups[name]), per_dataset):
            try:
                run = zoo[number]
                axes_names = _axes(run)
                values = run.curve if axes_names else None
            except ZooError:
                unreadable += 1
                continue
            if axes_names is None or values is None or axes_names != (names or axes_names) or len(values) < 2:
                continue
            names = axes_names
            columns = run.curve_columns
            y = values[:, columns.index(axes_names[1])]
            x = (
                values[:, columns.index(axes_names[0])]
                if axes_names[0] in columns
                else np.arange(len(y), dtype=np.float64)
            )
            found.setdefault(name, []).append(Curve(number, x, y))
    x_name, y_name = names or ("epoch", "test_accuracy")
    return Curves(found, x_name, y_name, unreadable)


def _axes(run: Run) -> tuple[str, str] | None:
    columns = run.curve_columns
    y = next((c for c in ("test_accuracy", "validation_accuracy") if c in columns), None)
    x = next((c for c in ("epoch", "step") if c in columns), "evaluation")
    return (x, y) if y else None


def training_lengths(zoo: Zoo) -> dict[str, list[float]]:
    """Last epoch and last step of complete runs, where they are known: {"epoch": […], "step": […]}."""
    lengths: dict[str, list[float]] = {"epoch": [], "step": []}
    for number in spread(zoo.select(status="complete").numbers, MOST_METADATA):
        try:
            measurements = zoo[number].measurements
        except ZooError:
            continue
        for name, values in lengths.items():
            if measurements and isinstance(measurements[-1].get(name), (int, float)):
                values.append(float(measurements[-1][name]))
    return lengths
