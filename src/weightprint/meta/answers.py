"""What was learnt for one target, what is read of one run with it, and that as a table of answers.

See `weightprint.evaluation.answers` for the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from weightprint.errors import CorruptFile
from weightprint.evaluation.answers import SLICE, SNAPSHOT, table
from weightprint.features.table import Table
from weightprint.meta.learners.base import Fitted
from weightprint.meta.targets import CLASSIFICATION, Target
from weightprint.meta.view import WHOLE, View
from weightprint.zoo.layout import Layout
from weightprint.zoo.readable import Readable

if TYPE_CHECKING:
    from weightprint.meta.estimator import MetaClassifier


@dataclass(frozen=True)
class Head:
    """What was learnt for one target.

    target:       what is predicted
    scale:        mean and deviation by which values are standardised
    fitted:       what the learner made
    train_runs:   identities
    class_counts: of each class the runs kept and removed
    """

    target: Target
    scale: tuple[float, float]
    fitted: Fitted
    train_runs: tuple[str, ...]
    class_counts: list[dict[str, Any]]

    def outputs(self, table: Table) -> npt.NDArray[np.float64]:
        """Class probabilities [n, C], or values [n, 1]."""
        predicted = self.fitted.outputs(table.rows, table.names)
        if self.target.kind == CLASSIFICATION:
            return predicted
        return self.target.decode(predicted * self.scale[1] + self.scale[0])


@dataclass(frozen=True)
class Reading:
    """What a meta-classifier reads in one run.

    run:       the run
    snapshots: their numbers, from 1 [T]
    labels:    one per snapshot; empty where the run has none
    starts:    where the slices begin in the weights that are read, int64 [T, K]; None for whole vectors
    outputs:   class probabilities [T, K, C], or predicted values [T, K, 1]; K is 1 for whole vectors
    layout:    of the weights that are read: the run's own, or what `without` leaves of it
    target:    what is predicted
    """

    run: Readable
    snapshots: tuple[int, ...]
    labels: tuple[Any, ...]
    starts: npt.NDArray[np.int64] | None
    outputs: npt.NDArray[np.float64]
    layout: Layout
    target: Target

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """The outputs' mean over snapshots and slices [C]: what the run as a whole is given."""
        return self.target.mean(self.outputs, axis=(0, 1))


def count_classes(runs: Iterable[Readable], target: Target, kept: Iterable[str]) -> list[dict[str, Any]]:
    """Of each class how many runs were kept and removed, and how many of both did not converge.

    A filter removes classes selectively: a class of which most is removed is another class than it was. Empty for a
    regression. kept: identities
    """
    kept = set(kept)
    counts = {name: {"class": name, "kept": 0, "removed": 0, "not_converged": 0} for name in target.classes}
    for run in runs:
        try:
            label = run.properties.get(target.name)
        except CorruptFile:
            continue  # counted where the runs are chosen
        number = target.encode(label) if target.classes else None
        if number is not None:
            count = counts[target.classes[int(number)]]
            count["kept" if run.identity in kept else "removed"] += 1
            count["not_converged"] += run.converged is False
    return list(counts.values())


def goals_of(target: Target, labels: Sequence[Sequence[Any]]) -> tuple[list[npt.NDArray], tuple[float, float]]:
    """Per run the numbers to learn [T], and the mean and deviation by which values were standardised."""
    goals = [np.array([target.encode(label) for label in of_run]) for of_run in labels]
    if target.kind == CLASSIFICATION:
        return [goal.astype(np.intp) for goal in goals], (0.0, 1.0)
    values = np.concatenate(goals)
    scale = float(values.mean()), float(values.std()) or 1.0
    return [(goal - scale[0]) / scale[1] for goal in goals], scale


def read_answers(
    meta: MetaClassifier,
    runs: Iterable[Readable],
    *,
    slices: int = 10,
    target: str | None = None,
    split: int = 0,
    zoo: str = "",
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The answers for the runs that neither it nor their kin was fitted on, and the runs left out, by reason.

    target: one of `together` instead of the first

    Raises MetaError when no such run is left.
    """
    readings, excluded = meta.read_unseen(runs, slices=slices, target=target)
    return answers_of(meta, readings, split=split, zoo=zoo), excluded


def answers_of(meta: MetaClassifier, readings: Sequence[Reading], *, split: int = 0, zoo: str = "") -> pl.DataFrame:
    """The answers in readings at hand, which are of one target, as `MetaClassifier.read_unseen` gives them."""
    target = readings[0].target
    runs = [reading.run.identity for reading in readings]
    known: dict[str, Any] = {"property": target.name, "model": meta.model, "view": view_text(meta.view)}
    known |= {"reads": SLICE if meta.local else SNAPSHOT, "split": split, "zoo": zoo}
    if target.kind != CLASSIFICATION:
        truth = [float(np.mean(reading.labels)) for reading in readings]
        return table(runs, truth, [reading.mean[0] for reading in readings], **known)
    numbers = class_numbers(readings)
    means = np.array([reading.mean for reading in readings])
    named = [reading.outputs.argmax(axis=2) for reading in readings]  # each [T, K]
    return table(
        runs,
        numbers,
        means.argmax(axis=1),
        classes=target.classes,
        probabilities=means,
        hits=[int((classes == number).sum()) for classes, number in zip(named, numbers, strict=True)],
        readings=[classes.size for classes in named],
        **known,
    )


def class_numbers(readings: Iterable[Reading]) -> np.ndarray:
    """The number of each run's class, which its target knows: intp [N]."""
    return np.array([reading.target.encode(reading.labels[0]) for reading in readings], np.intp)


def view_text(view: View) -> str:
    """Which weights are seen, in words: equal for equal views alone."""
    snapshots = view.snapshots if isinstance(view.snapshots, str) else "{}-{}".format(*view.snapshots)
    words = ["whole vectors" if view.slice_length == WHOLE else f"slices of {view.slice_length}, {view.draws} drawn"]
    words += [] if view.part == WHOLE else [f"part {view.part}"]
    words += [f"snapshots {snapshots}", *(f"without {kind}" for kind in view.without)]
    return ", ".join(words + ([] if view.converged else ["runs that did not converge too"]))
