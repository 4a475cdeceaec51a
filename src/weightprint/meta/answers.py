"""What a meta-classifier says of runs, as a table of answers; see `weightprint.evaluation.answers`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from weightprint.evaluation.answers import SLICE, SNAPSHOT, table
from weightprint.evaluation.scores import read_classes
from weightprint.meta.heads import Reading
from weightprint.meta.targets import CLASSIFICATION
from weightprint.meta.view import WHOLE, View
from weightprint.zoo.readable import Readable

if TYPE_CHECKING:
    from weightprint.meta.estimator import MetaClassifier


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
    known = {
        "property": target.name,
        "model": meta.model,
        "view": view_text(meta.view),
        "reads": SLICE if meta.local else SNAPSHOT,
    }
    if target.kind != CLASSIFICATION:
        truth = [float(np.mean(reading.labels)) for reading in readings]
        return table(runs, truth, [reading.mean[0] for reading in readings], split=split, zoo=zoo, **known)
    numbers = class_numbers(readings)
    columns = read_classes(numbers, [reading.outputs for reading in readings])
    return table(runs, numbers, classes=target.classes, split=split, zoo=zoo, **known, **columns)


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
