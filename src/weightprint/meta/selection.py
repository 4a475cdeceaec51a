"""Choices made inside the training runs: validation runs, and the best of several settings; never by test runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from weightprint.errors import CorruptFile, MetaError
from weightprint.meta.base import MetaClassifier
from weightprint.meta.comparison import Tally, compare
from weightprint.meta.rows import deal_folds
from weightprint.meta.targets import MOST_CLASSES, labels_of
from weightprint.seeds import seed_from_hash

QUANTILES = 5
"""Groups of equal size that numbers are stratified by."""


class Runs(Sequence[Any]):
    """Some runs of a zoo, to be fitted or evaluated on in its place; `identity` is the zoo's."""

    def __init__(self, runs: Iterable[Any], identity: str | None = None) -> None:
        self._runs, self.identity = list(runs), identity

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, number: Any) -> Any:
        return self._runs[number]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._runs)


def folds(runs: Sequence[Any], target: str, count: int, *, seed: int = 0) -> npt.NDArray[np.intp]:
    """A fold's number from 0 for each run [N], stratified by its label and by whether it converged.

    Numbers of many values, and what is measured, are stratified by their quantiles. The same runs in another order are
    dealt alike.
    """
    order = sorted(range(len(runs)), key=lambda i: str(runs[i].identity))
    labels = [_label(runs[i], target) for i in order]
    numbers = np.array([v for v in labels if isinstance(v, float)])
    edges = np.quantile(numbers, np.arange(1, QUANTILES) / QUANTILES) if len(set(numbers)) > MOST_CLASSES else None
    strata = [
        (int(np.searchsorted(edges, v)) if edges is not None and isinstance(v, float) else v, runs[i].converged)
        for i, v in zip(order, labels, strict=True)
    ]
    fold = np.zeros(len(runs), np.intp)
    fold[order] = deal_folds(strata, count, np.random.default_rng(seed_from_hash("folds", target, count, seed)))
    return fold


def _label(run: Any, target: str) -> Any:
    """What a run is stratified by: its label at the last snapshot, a number as a float; None where it has none."""
    try:
        labels = labels_of(run, target, (max(1, len(run.measurements)),))
    except CorruptFile:
        return None
    label = labels[0] if labels else None
    return float(label) if isinstance(label, (int, float)) and not isinstance(label, bool) else label


def split_validation(train: Any, target: str, *, share: float = 0.2, seed: int = 0) -> tuple[Runs, Runs]:
    """(runs to learn from, validation runs) out of training runs, stratified as by `folds`.

    share: about how large a part the validation runs are, at most a half

    Raises MetaError for another share, or for fewer than two runs.
    """
    if not 0 < share <= 0.5:
        raise MetaError(f"the share of validation runs must be above 0 and at most 0.5, not {share}")
    runs, identity = list(train), getattr(train, "identity", None)
    if len(runs) < 2:
        raise MetaError(f"{len(runs)} runs cannot be split into runs to learn from and validation runs")
    fold = folds(runs, target, min(len(runs), round(1 / share)), seed=seed)
    learn = [run for run, k in zip(runs, fold, strict=True) if k]
    return Runs(learn, identity), Runs([run for run, k in zip(runs, fold, strict=True) if not k], identity)


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
    train: Any,
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
    runs, identity = list(train), getattr(train, "identity", None)
    count = min(count, len(runs))
    if count < 2:
        raise MetaError(f"a choice takes at least 2 folds of the training runs, not {count}")
    fold = folds(runs, target, count, seed=seed)
    tallies: dict[str, Tally] = {}
    for name, meta in candidates.items():
        parts = []
        for k in range(count):
            learn = Runs((run for run, f in zip(runs, fold, strict=True) if f != k), identity)
            held = Runs((run for run, f in zip(runs, fold, strict=True) if f == k), identity)
            parts.append(Tally.of(clone(meta).fit(learn), held, slices=slices))
        tallies[name] = Tally.joined(parts)
        if say is not None:
            say(f"{name}: {tallies[name].score.mean():.3f}")
    document = compare(tallies)
    scores = {model["name"]: model["value"] for model in document["models"]}
    best = (max if document["measure"] == "accuracy" else min)(scores, key=lambda name: scores[name])
    document |= {"chosen": best, "folds": count, "seconds": time.monotonic() - began}
    return Picked(best, clone(candidates[best]), document)
