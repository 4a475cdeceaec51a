"""Paired comparison of meta-classifiers; see `weightprint.evaluation.comparison`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import polars as pl
from sklearn.base import clone

from weightprint.evaluation.comparison import compare_answers
from weightprint.meta.answers import read_answers
from weightprint.meta.estimator import MetaClassifier
from weightprint.zoo.readable import Readable

SPLITS = range(5)
"""Split seeds that headline numbers are pooled over."""

Fit = Callable[[list[Readable]], MetaClassifier]
"""From training runs to a fitted meta-classifier."""


class Splittable(Protocol):
    """Runs that can be divided, such as a zoo."""

    def split(self, *, split_seed: int) -> tuple[Iterable[Readable], Iterable[Readable]]:
        """(training runs, test runs)."""
        ...


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
    zoo: Splittable,
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
    parts: dict[str, list[pl.DataFrame]] = {}
    excluded: dict[str, dict[str, int]] = {}
    splits = []
    for seed in split_seeds:
        train, test = (list(part) for part in zoo.split(split_seed=seed))
        alone = {}
        for name, model in _named(models).items():
            meta = clone(model).fit(train) if isinstance(model, MetaClassifier) else model(train)
            alone[name], left_out = read_answers(meta, test, slices=slices, split=seed)
            parts.setdefault(name, []).append(alone[name])
            most = excluded.setdefault(name, {})
            most.update({reason: max(count, most.get(reason, 0)) for reason, count in left_out.items()})
        compared = compare_answers(alone)
        values = {model["name"]: model["value"] for model in compared["models"]}
        splits.append({"split_seed": seed, "n_runs": compared["n_runs"], "values": values})
    document = compare_answers({name: pl.concat(of_model) for name, of_model in parts.items()})
    return {**_with_excluded(document, excluded), "splits": splits, "seconds": time.monotonic() - began}


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
