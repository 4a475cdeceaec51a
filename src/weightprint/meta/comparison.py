"""Meta-classifiers against each other, and choices made inside the training runs: folds, validation runs, the best of
several settings; never by test runs. See `weightprint.evaluation.comparison` for the paired comparison.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import clone

from weightprint.errors import CorruptFile, MetaError
from weightprint.evaluation.answers import per_run
from weightprint.evaluation.comparison import compare_answers
from weightprint.meta.answers import read_answers
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.learners.base import deal_folds
from weightprint.meta.targets import MOST_CLASSES, labels_of
from weightprint.seeds import seed_from_hash
from weightprint.zoo import Zoo
from weightprint.zoo.readable import Readable, families

SPLITS = range(5)
"""Split seeds that headline numbers are pooled over."""

Fit = Callable[[list[Readable]], MetaClassifier]
"""From training runs to a fitted meta-classifier."""


def compare(
    models: Mapping[str, MetaClassifier | pl.DataFrame] | Sequence[MetaClassifier],
    runs: Iterable[Readable] = (),
    *,
    slices: int = 10,
) -> dict[str, Any]:
    """Fitted models of one target against each other, on the runs that neither they nor their kin were fitted on.

    models: by name, or in a sequence, named by their models; a table of answers stands for what is known already
    runs:   not needed when all are tables

    Returns the document of `weightprint.evaluation.comparison.compare_answers`; each of its "models" that read runs
    also has "excluded", the runs left out, by reason. Raises MetaError for models of different targets, or when no run
    is left that all can be judged by.
    """
    runs = list(runs)
    answers: dict[str, pl.DataFrame] = {}
    excluded = {}
    for name, model in _named(models).items():
        if isinstance(model, pl.DataFrame):
            answers[name] = model
        else:
            answers[name], excluded[name] = read_answers(model, runs, slices=slices)
    return _with_excluded(compare_answers(answers), excluded)


def compare_splits(
    models: Mapping[str, MetaClassifier | Fit] | Sequence[MetaClassifier],
    zoo: Zoo,
    *,
    split_seeds: Iterable[int] = SPLITS,
    slices: int = 10,
) -> dict[str, Any]:
    """`compare`, with every model fitted anew on the training runs of several splits, and what it got right pooled.

    models:      by name: settings, of which a clone is fitted, or a function from training runs to a fitted model
                 (which may choose settings by validation among them)
    split_seeds: of `zoo.split`

    The document is that of `compare` and has "splits", the scores of each; "excluded" is that of the split with the
    most. Intervals are over runs: they hold for this zoo's kind of runs and do not grow narrower with more splits than
    it takes to have every run tested.
    """
    began = time.monotonic()
    both = {seed: zoo.split(split_seed=seed) for seed in split_seeds}
    parts = [(seed, list(train), list(test)) for seed, (train, test) in both.items()]
    answers: dict[str, pl.DataFrame] = {}
    excluded: dict[str, Counter[str]] = {}
    for name, model in _named(models).items():
        answers[name], excluded[name] = _refitted(model, parts, slices)
    splits = []
    for seed in both:
        compared = compare_answers({name: a.filter(pl.col("split") == seed) for name, a in answers.items()})
        values = {model["name"]: model["value"] for model in compared["models"]}
        splits.append({"split_seed": seed, "n_runs": compared["n_runs"], "values": values})
    document = compare_answers(answers)
    return {**_with_excluded(document, excluded), "splits": splits, "seconds": time.monotonic() - began}


def _refitted(
    model: MetaClassifier | Fit, parts: Iterable[tuple[int, Sequence[Readable], Sequence[Readable]]], slices: int
) -> tuple[pl.DataFrame, Counter[str]]:
    """The answers of a model that is fitted anew in each split, and of each reason the most runs left out.

    parts: of each split its number, the runs to fit on and those to judge by
    """
    tables, excluded = [], Counter[str]()
    for split, train, test in parts:
        meta = clone(model).fit(train) if isinstance(model, MetaClassifier) else model(list(train))
        answers, left_out = read_answers(meta, test, slices=slices, split=split)
        tables.append(answers)
        excluded |= Counter(left_out)
    return pl.concat(tables), excluded


def _named(models: Mapping[str, Any] | Sequence[MetaClassifier]) -> dict[str, Any]:
    """Models by name; of several with one name the later ones are numbered."""
    if isinstance(models, Mapping):
        return dict(models)
    named: dict[str, Any] = {}
    for model in models:
        count = sum(name.split(" #")[0] == model.model for name in named)
        named[f"{model.model} #{count + 1}" if count else model.model] = model
    return named


def _with_excluded(document: dict[str, Any], excluded: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    for model in document["models"]:
        if model["name"] in excluded:
            model["excluded"] = dict(excluded[model["name"]])
    return document


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
        kin = ", which share their random streams," if len(runs) > 1 else ""
        raise MetaError(f"{len(runs)} runs{kin} cannot be split into runs to learn from and validation runs")
    fold = folds(runs, target, min(apart, round(1 / share)), seed=seed)
    return _part(runs, fold != 0), _part(runs, fold == 0)


def _part(runs: Sequence[Readable], mask: npt.NDArray[np.bool_]) -> list[Readable]:
    return [run for run, inside in zip(runs, mask, strict=True) if inside]


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
            f"candidates must have one target, not {len(targets)}: {', '.join(sorted(targets)) or 'none given'}"
        )
    (target,) = targets
    runs = list(train)
    count = min(count, len(set(families(runs))))
    if count < 2:
        raise MetaError(f"a choice takes at least 2 folds of the training runs, not {count}")
    fold = folds(runs, target, count, seed=seed)
    parts = [(k, _part(runs, fold != k), _part(runs, fold == k)) for k in range(count)]
    answers: dict[str, pl.DataFrame] = {}
    for name, meta in candidates.items():
        answers[name], _ = _refitted(meta, parts, slices)
        if say is not None:
            say(f"{name}: {per_run(answers[name])['score'].to_numpy().mean():.3f}")
    document = compare(answers)
    scores = {model["name"]: model["value"] for model in document["models"]}
    best = (max if document["measure"] == "accuracy" else min)(scores, key=lambda name: scores[name])
    document |= {"n_splits": 1, "chosen": best, "folds": count, "seconds": time.monotonic() - began}
    return Picked(best, clone(candidates[best]), document)
