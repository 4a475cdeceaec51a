"""Paired comparison: which of several meta-classifiers does better on the same runs, and how sure that is.

Two models judged on the same runs share what makes these runs easy or hard, so that their difference is known better
than either accuracy. A run counts once: in several splits it may be a test run repeatedly, and what was found of it
there is put together before anything is drawn or counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from weightprint.errors import MetaError
from weightprint.meta.base import MetaClassifier, Reading
from weightprint.meta.evaluation import Interval, bootstrap, finite, listed, wilson
from weightprint.meta.targets import CLASSIFICATION, Target

SPLITS = range(5)
"""Split seeds that headline numbers are pooled over."""


@dataclass(frozen=True)
class Tally:
    """What one fitted model got right, run by run.

    target:       what it predicts
    reads:        "slice" or "snapshot": what one reading is
    runs:         identities [N]
    truth:        the class's number or the value of each run [N]
    score:        per run 1 where it was named right and 0 where not, or the absolute error [N]
    square_error: per run, zeros for a classification [N]
    hits, totals: per run its readings that named it right, and all of them [N]; zeros for a regression
    """

    target: Target
    reads: str
    runs: tuple[str, ...]
    truth: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    square_error: npt.NDArray[np.float64]
    hits: npt.NDArray[np.float64]
    totals: npt.NDArray[np.float64]

    @classmethod
    def of(cls, meta: MetaClassifier, zoo: Any, *, slices: int = 10) -> Tally:
        """Of the runs of a zoo that `meta` was not fitted on. Raises MetaError when there is none."""
        return cls.of_readings(meta, meta.read_unseen(zoo, slices=slices)[0])

    @classmethod
    def of_readings(cls, meta: MetaClassifier, readings: Sequence[Reading]) -> Tally:
        """Of readings at hand, as `meta.read_unseen` gives them."""
        target, runs = meta.target_, tuple(reading.run.identity for reading in readings)
        reads = "slice" if meta.local else "snapshot"
        none = np.zeros(len(readings))
        if target.kind != CLASSIFICATION:
            truth = np.array([np.mean(r.labels) for r in readings])
            error = np.array([r.mean[0] for r in readings]) - truth
            return cls(target, reads, runs, truth, np.abs(error), error**2, none, none)
        truth = np.array([target.encode(r.labels[0]) for r in readings], np.float64)
        named = np.array([r.mean.argmax() for r in readings])
        hits = np.array([(r.outputs.argmax(axis=2) == t).sum() for r, t in zip(readings, truth, strict=True)], float)
        totals = np.array([r.outputs.shape[0] * r.outputs.shape[1] for r in readings], float)
        return cls(target, reads, runs, truth, (named == truth).astype(float), none, hits, totals)

    @classmethod
    def joined(cls, tallies: Sequence[Tally]) -> Tally:
        """One of several that have no run in common, such as those of folds."""
        columns = ("truth", "score", "square_error", "hits", "totals")
        arrays = [np.concatenate([getattr(tally, name) for tally in tallies]) for name in columns]
        return cls(tallies[0].target, tallies[0].reads, tuple(run for t in tallies for run in t.runs), *arrays)


@dataclass(frozen=True)
class _Sums:
    """What one model got right, summed over splits: all [R], one entry per run; fields as in `Tally`."""

    times: npt.NDArray[np.float64]
    truth: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    square_error: npt.NDArray[np.float64]
    hits: npt.NDArray[np.float64]
    totals: npt.NDArray[np.float64]


def compare(
    models: Mapping[str, MetaClassifier | Tally] | Sequence[MetaClassifier], zoo: Any = None, *, slices: int = 10
) -> dict[str, Any]:
    """Fitted models of one target against each other, on the runs that none of them was fitted on.

    models: by name, or in a sequence, named by their models; a Tally stands for readings at hand
    zoo:    not needed when all are tallies

    Returns a JSON-ready document: "models", each with its score and interval, and "pairs", every model against every
    later one. "difference" is the first's accuracy (or mean absolute error) minus the second's, "interval" its paired
    95 % bootstrap interval over runs, "mcnemar" the exact test on the runs that only one named right (of a regression:
    that one came closer to), "per_reading" the same difference over single slices or snapshots.

    Raises MetaError for models of different targets, or when no run is left that all can be judged by.
    """
    tallies = {
        name: model if isinstance(model, Tally) else Tally.of(model, zoo, slices=slices)
        for name, model in _named(models).items()
    }
    return _document([tallies])


def compare_splits(
    models: Mapping[str, MetaClassifier | Callable[[Any], MetaClassifier]] | Sequence[MetaClassifier],
    zoo: Any,
    *,
    split_seeds: Iterable[int] = SPLITS,
    slices: int = 10,
) -> dict[str, Any]:
    """`compare`, with every model fitted anew on the training runs of several splits, and what it got right pooled.

    models:      by name: settings, of which a clone is fitted, or a function from training runs to a fitted model
                 (which may choose settings by validation among them)
    split_seeds: of `zoo.split`

    The document is that of `compare` and has "splits", the scores of each. Intervals are over runs: they hold for this
    zoo's kind of runs and do not grow narrower with more splits than it takes to have every run tested.
    """
    began = time.monotonic()
    seeds = list(split_seeds)
    pooled, splits = [], []
    for seed in seeds:
        train, test = zoo.split(split_seed=seed)
        tallies = {name: Tally.of(_fitted(model, train), test, slices=slices) for name, model in _named(models).items()}
        pooled.append(tallies)
        alone = _document([tallies])
        scores = {model["name"]: model["value"] for model in alone["models"]}
        splits.append({"split_seed": seed, "n_runs": alone["n_runs"], "values": scores})
    return {**_document(pooled), "splits": splits, "seconds": time.monotonic() - began}


def _named(models: Any) -> dict[str, Any]:
    """Models by name; of several with one name the later ones are numbered."""
    if isinstance(models, Mapping):
        return dict(models)
    named: dict[str, Any] = {}
    for model in models:
        count = sum(name.split(" #")[0] == model.name for name in named)
        named[f"{model.name} #{count + 1}" if count else model.name] = model
    return named


def _fitted(model: Any, train: Any) -> MetaClassifier:
    return clone(model).fit(train) if isinstance(model, MetaClassifier) else model(train)


def _document(splits: Sequence[Mapping[str, Tally]]) -> dict[str, Any]:
    """The document of tallies, one mapping per split, all with the same names."""
    first = next(iter(splits[0].values()))
    names = {tally.target.name for split in splits for tally in split.values()}
    kinds = {tally.target.kind for split in splits for tally in split.values()}
    if len(names) > 1 or len(kinds) > 1:
        raise MetaError(
            f"models of different targets cannot be compared: {', '.join(sorted(names | kinds))}",
            hint="fit them to one property",
        )
    sums, runs = _summed(splits)
    classification = first.target.kind == CLASSIFICATION
    return {
        "property": first.target.name,
        "kind": first.target.kind,
        "measure": "accuracy" if classification else "mae",
        "n_runs": len(runs),
        "n_splits": len(splits),
        "n_not_common": len({run for split in splits for tally in split.values() for run in tally.runs} - set(runs)),
        "models": [
            {"name": name, "reads": splits[0][name].reads, **_score(sums[name], classification)} for name in sums
        ],
        "pairs": [_pair(a, b, sums[a], sums[b], classification) for a, b in combinations(sums, 2)],
    }


def _summed(splits: Sequence[Mapping[str, Tally]]) -> tuple[dict[str, _Sums], list[str]]:
    """Per model the sums over splits for every run that all models were judged by in the same splits, and these."""
    common = [set.intersection(*(set(tally.runs) for tally in split.values())) for split in splits]
    runs = sorted(set().union(*common))
    if not runs:
        raise MetaError(
            "no run is left that all models can be judged by", hint="compare models fitted on the same training runs"
        )
    row = {run: i for i, run in enumerate(runs)}
    sums = {}
    for name in splits[0]:
        table = np.zeros((6, len(runs)))
        for split, shared in zip(splits, common, strict=True):
            tally = split[name]
            of = [i for i, run in enumerate(tally.runs) if run in shared]
            at = [row[tally.runs[i]] for i in of]
            ones = np.ones(len(tally.runs))
            columns = (ones, tally.truth, tally.score, tally.square_error, tally.hits, tally.totals)
            table[:, at] += np.stack(columns)[:, of]
        table[1] /= table[0]
        sums[name] = _Sums(*table)
    return sums, runs


def _score(sums: _Sums, classification: bool) -> dict[str, Any]:
    n, value = len(sums.times), float(sums.score.sum() / sums.times.sum())
    interval: Interval | None = bootstrap(lambda counts: (counts @ sums.score) / (counts @ sums.times), n)
    if not classification:
        r2 = {"value": finite(_r2(np.ones((1, n)), sums)[0]), "interval": listed(bootstrap(lambda c: _r2(c, sums), n))}
        return {"value": value, "interval": listed(interval), "r2": r2}
    if (sums.times == 1).all():
        interval = wilson(float(sums.score.sum()), n)
    per_reading = float(sums.hits.sum() / sums.totals.sum())
    return {"value": value, "interval": listed(interval), "per_reading": per_reading}


def _pair(name_a: str, name_b: str, a: _Sums, b: _Sums, classification: bool) -> dict[str, Any]:
    n = len(a.times)
    document = {
        "a": name_a,
        "b": name_b,
        "difference": float((a.score - b.score).sum() / a.times.sum()),
        "interval": listed(bootstrap(lambda counts: (counts @ (a.score - b.score)) / (counts @ a.times), n)),
        "mcnemar": _mcnemar(a.score - b.score if classification else b.score - a.score),
    }
    if not classification:
        difference = _r2(np.ones((1, n)), a) - _r2(np.ones((1, n)), b)
        interval = bootstrap(lambda counts: _r2(counts, a) - _r2(counts, b), n)
        return {**document, "r2": {"difference": finite(difference[0]), "interval": listed(interval)}}
    readings = bootstrap(
        lambda counts: (counts @ a.hits) / (counts @ a.totals) - (counts @ b.hits) / (counts @ b.totals), n
    )
    difference = a.hits.sum() / a.totals.sum() - b.hits.sum() / b.totals.sum()
    return {**document, "per_reading": {"difference": float(difference), "interval": listed(readings)}}


def _mcnemar(gains: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The exact two-sided test of as many runs with a gain as with a loss.

    Source: Q. McNemar, Psychometrika 12 (1947), 153–157. With several splits, the sign of each run's sum.
    """
    from scipy.stats import binomtest

    a_better, b_better = int((gains > 0).sum()), int((gains < 0).sum())
    p_value = float(binomtest(a_better, a_better + b_better).pvalue) if a_better + b_better else 1.0
    return {"a_better": a_better, "b_better": b_better, "p_value": p_value}


def _r2(counts: npt.NDArray[np.float64], sums: _Sums) -> npt.NDArray[np.float64]:
    """R² per resample [B]; NaN where all truths drawn are equal."""
    weights = counts * sums.times
    total = weights.sum(axis=1)
    centred = sums.truth - sums.truth.mean()
    spread = weights @ centred**2 - (weights @ centred) ** 2 / total
    defined = spread > 1e-12 * max(float(np.sum(centred**2)), 1e-300)
    return np.where(defined, 1 - (counts @ sums.square_error) / np.where(defined, spread, 1), np.nan)
