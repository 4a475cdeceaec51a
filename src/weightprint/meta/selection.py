"""Choices made inside the training runs: validation runs, and the best of several settings; never by test runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import clone

from weightprint.errors import CorruptFile, MetaError
from weightprint.evaluation.answers import per_run
from weightprint.meta.answers import read_answers
from weightprint.meta.comparison import compare
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.learners.base import deal_folds
from weightprint.meta.targets import MOST_CLASSES, labels_of
from weightprint.seeds import seed_from_hash
from weightprint.zoo.readable import Readable, families

QUANTILES = 5
"""Groups of equal size that numbers are stratified by."""


def folds(runs: Sequence[Readable], target: str, count: int, *, seed: int = 0) -> npt.NDArray[np.intp]:
    """A fold's number from 0 for each run [N], stratified by its label and by whether it converged.

    Kin share a fold, which is dealt by the label of the first of them. Numbers of many values, and what is measured,
    are stratified by their quantiles. The same runs in another order are dealt alike.
    """
    members: dict[int, list[int]] = {}
    family = families(runs)
    for i in sorted(range(len(runs)), key=lambda i: str(runs[i].identity)):
        members.setdefault(int(family[i]), []).append(i)
    firsts = [runs[of_family[0]] for of_family in members.values()]
    labels = [_label(run, target) for run in firsts]
    numbers = np.array([v for v in labels if isinstance(v, float)])
    edges = np.quantile(numbers, np.arange(1, QUANTILES) / QUANTILES) if len(set(numbers)) > MOST_CLASSES else None
    strata = [
        (int(np.searchsorted(edges, v)) if edges is not None and isinstance(v, float) else v, run.converged)
        for run, v in zip(firsts, labels, strict=True)
    ]
    dealt = deal_folds(strata, count, np.random.default_rng(seed_from_hash("folds", target, count, seed)))
    fold = np.zeros(len(runs), np.intp)
    for of_family, number in zip(members.values(), dealt, strict=True):
        fold[of_family] = number
    return fold


def _label(run: Readable, target: str) -> Any:
    """What a run is stratified by: its label at the last snapshot, a number as a float; None where it has none."""
    try:
        labels = labels_of(run, target, (max(1, len(run.measurements)),))
    except CorruptFile:
        return None
    label = labels[0] if labels else None
    return float(label) if isinstance(label, (int, float)) and not isinstance(label, bool) else label


def split_validation(
    train: Iterable[Readable], target: str, *, share: float = 0.2, seed: int = 0
) -> tuple[list[Readable], list[Readable]]:
    """(runs to learn from, validation runs) out of training runs, stratified as by `folds`; kin stay together.

    share: about how large a part the validation runs are, at most a half

    Raises MetaError for another share, or for fewer than two runs that are no kin.
    """
    if not 0 < share <= 0.5:
        raise MetaError(f"the share of validation runs must be above 0 and at most 0.5, not {share}")
    runs = list(train)
    apart = len(set(families(runs)))
    if apart < 2:
        raise MetaError(f"{_counted(runs)} cannot be split into runs to learn from and validation runs")
    fold = folds(runs, target, min(apart, round(1 / share)), seed=seed)
    return _part(runs, fold != 0), _part(runs, fold == 0)


def _part(runs: Sequence[Readable], mask: npt.NDArray[np.bool_]) -> list[Readable]:
    return [run for run, inside in zip(runs, mask, strict=True) if inside]


def _counted(runs: Sequence[Readable]) -> str:
    """How many runs there are, and that all are kin where they are."""
    return f"{len(runs)} runs" + (", which share their random streams," if len(runs) > 1 else "")


@dataclass(frozen=True)
class Picked:
    """What `pick` picked.

    name:     of the best candidate
    meta:     its settings, not fitted: fit it on all training runs
    document: the validation scores of all candidates, as `compare` gives them, with "chosen", "folds", "seconds"
    """

    name: str
    meta: MetaClassifier
    document: dict[str, Any]


def pick(
    candidates: Mapping[str, MetaClassifier],
    train: Iterable[Readable],
    *,
    count: int = 3,
    slices: int = 5,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> Picked:
    """The candidate with the best score per run on training runs that it was not fitted on, fold by fold.

    candidates: settings by name; of equally good ones the first is taken, so list the simplest first
    train:      the training runs of a split
    count:      of folds: each candidate is fitted this many times
    say:        told of every candidate's score

    The best validation score is too good an estimate of the chosen one's: judge that one by test runs. Raises
    MetaError without candidates, and for candidates of different targets.
    """
    began = time.monotonic()
    targets = {meta.target for meta in candidates.values()}
    if len(targets) != 1:
        raise MetaError(
            f"candidates of one target are needed, not of {len(targets)}: {', '.join(sorted(targets)) or 'none given'}"
        )
    (target,) = targets
    runs = list(train)
    count = min(count, len(set(families(runs))))
    if count < 2:
        raise MetaError(f"a choice takes at least 2 folds of the training runs, not {count}")
    fold = folds(runs, target, count, seed=seed)
    answers: dict[str, pl.DataFrame] = {}
    for name, meta in candidates.items():
        parts = []
        for k in range(count):
            fitted = clone(meta).fit(_part(runs, fold != k))
            parts.append(read_answers(fitted, _part(runs, fold == k), slices=slices, split=k)[0])
        answers[name] = pl.concat(parts)
        if say is not None:
            say(f"{name}: {per_run(answers[name])['score'].to_numpy().mean():.3f}")
    document = compare(answers)
    scores = {model["name"]: model["value"] for model in document["models"]}
    best = (max if document["measure"] == "accuracy" else min)(scores, key=lambda name: scores[name])
    document |= {"n_splits": 1, "chosen": best, "folds": count, "seconds": time.monotonic() - began}
    return Picked(best, clone(candidates[best]), document)
