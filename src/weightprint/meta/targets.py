"""What a meta-classifier predicts: a property of a run, or a quantity measured at its snapshots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import CorruptFile, MetaError, did_you_mean
from weightprint.evaluation.answers import CLASSIFICATION, REGRESSION
from weightprint.setups import EverydaySetup, Setup
from weightprint.zoo.readable import Readable
from weightprint.zoo.zoo import KIN

MOST_CLASSES = 10
"""A number with more distinct values than this is regressed; with as many or fewer, each value is a class."""

DECADE = 10
"""A number whose largest value is at most so many times its smallest is regressed as it is."""


def are_one_kind(values: Iterable[Any]) -> bool:
    """Whether all are truth values, all numbers or all text, so that they can be told apart or regressed."""
    kinds = {bool if isinstance(v, bool) else float if isinstance(v, (int, float)) else type(v) for v in values}
    return len(kinds) == 1 and kinds <= {bool, float, str}


GENERALIZATION_GAP = "generalization_gap"
"""Measured at a snapshot: accuracy on the training images less that on the test images."""

PROVENANCE = frozenset({KIN, "file", "run", "published_list"})
"""Properties that say where a run is from, not how it was trained: predicted by those alone who ask for them."""


@dataclass(frozen=True)
class Target:
    """One thing to predict.

    name:    a property's name, or a measurement's ("test_accuracy")
    kind:    "classification" or "regression"
    classes: the classes in ascending order, in their own type; empty for regression
    log:     whether the logarithm is regressed instead of the value; predictions are values all the same
    """

    name: str
    kind: str
    classes: tuple[Any, ...] = ()
    log: bool = False

    @classmethod
    def of(cls, name: str, labels: Sequence[Sequence[Any]], *, measured: bool) -> Target:
        """The target that the training runs' labels (one sequence per run, one label per snapshot) make of a name.

        Truth values and text are classes, and so are numbers of up to MOST_CLASSES distinct values, unless they are
        real numbers that hardly repeat. Other numbers and everything measured are regressed. Of a number that is not
        measured the logarithm is regressed when it is always positive, spans more than a decade and is less skewed as
        a logarithm, as one drawn log-uniformly is. Raises MetaError for fewer than two classes or labels of mixed
        types.
        """
        values = {value for run in labels for value in run}
        numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        hardly_repeat = any(isinstance(v, float) for v in values) and len(values) > max(3, len(labels) / 2)
        if numeric and (measured or len(values) > MOST_CLASSES or hardly_repeat):
            if len(values) < 2:
                raise MetaError(f"every training run has the same {name}: there is nothing to regress")
            return cls(name, REGRESSION, log=not measured and _is_spread_over_decades([run[0] for run in labels]))
        if not numeric and len({type(v) for v in values}) > 1:
            kinds = ", ".join(sorted({type(v).__name__ for v in values}))
            raise MetaError(f"{name} has labels of mixed types: {kinds}", hint="give all runs labels of one type")
        if len(values) < 2:
            only = f", all {next(iter(values))!r}" if values else ""
            problem = f"{name} needs at least 2 classes among the training runs, found {len(values)}{only}"
            raise MetaError(problem, hint="choose a property that varies in this zoo")
        return cls(name, CLASSIFICATION, tuple(sorted(values)))

    def encode(self, label: Any) -> float | int | None:
        """The number of a label's class, or the number to regress.

        None if it has none: a class that no training run had, text where a number is expected, or a number of 0 or
        below where its logarithm is regressed.
        """
        if self.kind == REGRESSION:
            if not isinstance(label, (int, float)) or (self.log and label <= 0):
                return None
            return math.log(label) if self.log else float(label)
        return self.classes.index(label) if label in self.classes else None

    def decode(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The values that regressed numbers stand for."""
        return np.exp(numbers) if self.log else numbers

    def mean(self, outputs: npt.NDArray[np.float64], axis: int | tuple[int, ...]) -> npt.NDArray[np.float64]:
        """The mean of probabilities or values; where the logarithm is regressed, the geometric one."""
        return np.exp(np.log(outputs).mean(axis=axis)) if self.log else outputs.mean(axis=axis)


def _measured(measurements: Mapping[str, Any], name: str) -> Any:
    """What was measured at one snapshot, or follows from it; None where it is not there."""
    if name != GENERALIZATION_GAP:
        return measurements.get(name)
    train, test = (measurements.get(f"{part}_accuracy") for part in ("train", "test"))
    return None if train is None or test is None else train - test


def _is_spread_over_decades(values: Sequence[float]) -> bool:
    from scipy.stats import skew

    x = np.array(values, np.float64)
    if x.min() <= 0 or x.max() <= DECADE * x.min():
        return False
    return bool(abs(skew(np.log(x))) < abs(skew(x)))


def common_values(runs: Sequence[Readable]) -> dict[str, list[Any]]:
    """The properties that at least half of the runs have, in values of one kind, but PROVENANCE; with these values."""
    names = dict.fromkeys(name for run in runs for name in run.properties if name not in PROVENANCE)
    values = {name: [v for run in runs if (v := run.properties.get(name)) is not None] for name in names}
    return {name: known for name, known in values.items() if 2 * len(known) >= len(runs) and are_one_kind(known)}


def property_order(properties: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of several runs' properties: those of the paper's set-ups in the order in which a set-up states them,
    what everyday ones have besides, then any others by name."""
    stated = dict.fromkeys(f.name for kind in (Setup, EverydaySetup) for f in fields(kind))
    known = {name: i for i, name in enumerate(stated)}
    names = {name for of_run in properties for name in of_run}
    return sorted(names, key=lambda name: (known.get(name, len(known)), name))


def check_name(name: str, runs: Iterable[Readable]) -> bool:
    """Whether `name` is measured at the snapshots (True) or a property of the runs (False).

    Raises MetaError with the nearest known name when it is neither.
    """
    properties: dict[str, Any] = {}
    measurements: dict[str, Any] = {}
    for run in runs:
        with suppress(CorruptFile):  # reported where the runs are chosen
            if name in run.properties:
                return False
            properties.update(run.properties)
            measurements.update(*run.measurements[:1])
    measurements.pop("snapshot", None)
    if name in measurements or (name == GENERALIZATION_GAP and _measured(measurements, name) is not None):
        return True
    raise MetaError(f"no property {name!r} in this zoo", hint=did_you_mean(name, [*properties, *measurements]))


def labels_of(run: Readable, name: str, snapshots: Sequence[int]) -> tuple[Any, ...]:
    """A run's label at each of its snapshots (numbered from 1); empty when one is missing or NaN."""
    if name in run.properties:
        labels = [run.properties[name]] * len(snapshots)
    else:
        labels = [_measured(run.measurements[s - 1], name) if s <= len(run.measurements) else None for s in snapshots]
    labels = [label.item() if hasattr(label, "item") else label for label in labels]
    if not labels or any(label is None or (isinstance(label, float) and not math.isfinite(label)) for label in labels):
        return ()
    return tuple(labels)
