"""How the shipped meta-classifier is made: fitted on everyday runs, calibrated on runs held out and on strangers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from weightprint.features import store
from weightprint.features.table import Table, features_named
from weightprint.inspection.cases import Case, cases_of_runs, cases_of_strangers, stacked
from weightprint.inspection.shipped import Calibration, Shipped
from weightprint.inspection.strangers import Stranger
from weightprint.inspection.world import World
from weightprint.meta import build
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.learners.base import deal_folds
from weightprint.zoo.readable import Readable

PROPERTIES = ("optimizer_family", "activation", "initialization", "image_kind")
"""What is told, the first first."""

SETTINGS: dict[str, Any] = {
    "iterations": 120,
    "leaves": 7,
    "column_share": 0.1,
    "learning_rate": 0.1,
    "early_stopping": False,
}
SEEDS = (0, 1, 2)
FOLDS = 4
SET_LEVEL = 0.9
PRECISION = 0.95
GRID = np.arange(0.8, 0.996, 0.01)
"""Probabilities that are tried as thresholds: an answer is confident, however well smaller ones did on few files."""


@dataclass(frozen=True)
class Answers:
    """What was said of networks that were not fitted on.

    truth:         class numbers [n]
    probabilities: uncalibrated [n, C]
    """

    truth: npt.NDArray[np.intp]
    probabilities: npt.NDArray[np.float64]


def fit_metas(
    runs: Sequence[Readable], properties: Sequence[str] = PROPERTIES, seeds: Sequence[int] = SEEDS, **changes: Any
) -> list[MetaClassifier]:
    """One meta-classifier per seed, on the last two snapshots of each run."""
    last = max(len(run.measurements) for run in runs)
    settings = {**SETTINGS, **changes, "snapshots": (max(1, last - 1), last), "together": tuple(properties[1:])}
    return [build("layer_trees", target=properties[0], seed=seed, **settings).fit(runs) for seed in seeds]


def last_rows(runs: Sequence[Readable]) -> list[Table]:
    """The anatomy of each run's last snapshot."""
    anatomy = features_named("anatomy")
    return [store.read(run, anatomy, (len(run.measurements),)) for run in runs]


def deal(items: Sequence[Any]) -> list[int]:
    """A fold for each of several runs, or groups."""
    return deal_folds([0] * len(items), FOLDS, np.random.default_rng(0)).tolist()


def answers_of(metas: Sequence[MetaClassifier], cases: Sequence[Case], properties: Sequence[str]) -> dict[str, Answers]:
    """Property → what the fits say, on average, of every case whose true value they know."""
    answers = {}
    for name in properties:
        heads = [meta.heads_[name] for meta in metas]
        truths = [heads[0].target.encode(case.labels.get(name)) for case in cases]
        known = [i for i, truth in enumerate(truths) if truth is not None]
        table = stacked([cases[i].table for i in known])
        outputs = [head.outputs(table) for head in heads] if known else [np.zeros((0, len(heads[0].target.classes)))]
        answers[name] = Answers(np.array([truths[i] for i in known], np.intp), np.mean(outputs, axis=0))
    return answers


def merged(parts: Iterable[Mapping[str, Answers]]) -> dict[str, Answers]:
    """Property → answers of several groups of networks as one."""
    parts = list(parts)
    found = {}
    for name in parts[0]:
        full = [part[name] for part in parts if len(part[name].truth)] or [parts[0][name]]
        truth = np.concatenate([answers.truth for answers in full])
        found[name] = Answers(truth, np.concatenate([answers.probabilities for answers in full]))
    return found


def answers_of_folds(
    runs: Sequence[Readable], tables: Sequence[Table], folds: Sequence[int], properties: Sequence[str], **changes: Any
) -> dict[str, Answers]:
    """Of every run what a fit on the other folds says of its last snapshot."""
    cases = cases_of_runs(runs, tables)
    parts = []
    for k in sorted(set(folds)):
        metas = fit_metas([r for r, f in zip(runs, folds, strict=True) if f != k], properties, SEEDS[:1], **changes)
        parts.append(answers_of(metas, [c for c, f in zip(cases, folds, strict=True) if f == k], properties))
    return merged(parts)


def calibrate(lab: Answers, strangers: Answers | None = None) -> Calibration:
    """Temperature, threshold and quantile.

    The temperature minimises the log loss, the two sources weighing the same. It is at least 1: the networks that are
    asked about differ more from those fitted on than the runs held out do, so that nothing may be surer than the fits.
    The threshold is the least probability above which at least PRECISION of the verdicts are right in each source (an
    empty source forbids nothing). The quantile is the larger one of the sources'.
    """
    sources = [lab] + ([strangers] if strangers is not None and len(strangers.truth) else [])
    temperature = _temperature(sources)
    at = Calibration(temperature)
    thresholds, quantiles = [], []
    for source in sources:
        thresholds.append(_threshold(at.apply(source.probabilities), source.truth))
        own = _of_truth(at, source)
        rank = min(len(own), int(np.ceil(SET_LEVEL * (len(own) + 1))))
        quantiles.append(float(np.sort(1 - own)[rank - 1]))
    judged = "files of strangers" if len(sources) > 1 else "our own runs alone"
    threshold = max(thresholds)
    reason = "" if threshold <= 1 else "verdicts were right too rarely at any confidence, where they could be checked"
    return Calibration(temperature, threshold, min(max(quantiles), 1.0), judged, reason)


def calibrations_of(lab: Mapping[str, Answers], strangers: Mapping[str, Answers]) -> dict[str, Calibration]:
    """Property → its calibration."""
    return {name: calibrate(lab[name], strangers[name]) for name in lab}


def _of_truth(at: Calibration, answers: Answers) -> npt.NDArray[np.float64]:
    """Calibrated probabilities of the true classes [n]."""
    return at.apply(answers.probabilities)[np.arange(len(answers.truth)), answers.truth]


def _temperature(sources: Sequence[Answers]) -> float:
    def loss(log_temperature: float) -> float:
        at = Calibration(float(np.exp(log_temperature)))
        return float(np.mean([-np.log(np.maximum(_of_truth(at, s), 1e-9)).mean() for s in sources]))

    return float(np.exp(minimize_scalar(loss, bounds=(0.0, np.log(5.0)), method="bounded").x))


def _threshold(probabilities: npt.NDArray[np.float64], truth: npt.NDArray[np.intp]) -> float:
    """The least probability at and above which enough verdicts are right; 2 where there is none."""
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    for threshold in GRID:
        spoken = top >= threshold
        if not spoken.any():
            break
        if right[spoken].mean() >= PRECISION:
            return float(round(threshold, 2))
    return 2.0


def make(
    runs: Sequence[Readable],
    strangers: Sequence[Stranger] = (),
    *,
    properties: Sequence[str] = PROPERTIES,
    facts: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Shipped:
    """Fit on complete, converged runs that have all properties, calibrate on the folds and on the strangers given."""
    runs = sorted(runs, key=lambda run: run.identity)
    tables, folds = last_rows(runs), deal(runs)
    of_runs = answers_of_folds(runs, tables, folds, properties, **changes)
    metas = fit_metas(runs, properties, **changes)
    of_strangers = answers_of(metas, cases_of_strangers(strangers), properties)
    calibrations = calibrations_of(of_runs, of_strangers)
    world = World.of(tables, [run.layout for run in runs], folds)
    known = {"runs": len(runs), "strangers": sum(s.network is not None for s in strangers), **(facts or {})}
    return Shipped(metas, world, calibrations, known)
