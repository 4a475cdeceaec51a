"""A trial: one meta-classifier of whole networks, trained on some runs and snapshots and tested on others.

Every curve and table of the study that reads whole networks is made of trials; what they differ in is which runs,
snapshots and tensors are read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.evaluation.intervals import Interval, bootstrap_share, wilson
from weightprint.evaluation.scores import regression_scores
from weightprint.meta import build
from weightprint.meta.base import WHOLE
from weightprint.meta.rows import deal_folds
from weightprint.meta.targets import CLASSIFICATION, Target
from weightprint.meta.trees import Statistics, Trees
from weightprint.seeds import seed_from_hash
from weightprint.study.table import FeatureTable
from weightprint.zoo import in_test_part

Values = tuple[tuple[str, tuple[Any, ...]], ...]
"""Conditions on runs: property → the values that are kept."""


@dataclass(frozen=True)
class Trial:
    """What is trained on and tested on.

    target:          a property of the runs, or a measurement of their snapshots
    train_snapshots: first and last that are trained on, from 1
    test_snapshots:  each (first, last) is tested on its own; a run's answer is the mean over them
    tensors:         those that are read; empty for all
    converged:       whether runs that did not learn are left out, of training and of test
    split_seeds:     one fit for each
    train_share:     share of the training runs that is used, stratified by class
    train_where, test_where: conditions on the runs of either side; None is no condition. With other values on the
                     two sides, every run of the test side may be tested: none was trained on
    iterations:      of the trees; None lets them choose on held-out runs
    model:           a name in `weightprint.study.table.READERS`
    without:         kinds of tensors that are left out of what is read
    train_zoo, test_zoo: fingerprints of other zoos than the one that is studied, which is ""
    """

    target: str
    train_snapshots: tuple[int, int]
    test_snapshots: tuple[tuple[int, int], ...]
    tensors: tuple[str, ...] = ()
    converged: bool = True
    split_seeds: tuple[int, ...] = (0,)
    train_share: float = 1.0
    train_where: Values = ()
    test_where: Values = ()
    iterations: int | None = None
    model: str = "trees"
    without: tuple[str, ...] = ()
    train_zoo: str = ""
    test_zoo: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Score:
    """What came of a trial on one choice of test snapshots.

    measure:   "accuracy", or "r2" for a regression
    value, low, high: with its 95 % interval over runs; None where it is not defined
    chance, majority: accuracies that need no weights; None for a regression
    n_runs:    test runs, each counted once however many splits it is tested in
    n_train_runs: of the smallest fit
    confusion: [C, C] truth by answer, over all splits; None for a regression
    per_run:   run number → (truth, share of splits in which it was named right, or mean estimate)
    """

    measure: str
    value: float | None
    low: float | None
    high: float | None
    chance: float | None
    majority: float | None
    n_runs: int
    n_train_runs: int
    classes: list[Any]
    confusion: list[list[int]] | None
    per_run: dict[str, list[Any]]

    @property
    def baseline(self) -> float:
        """What can be had without reading weights: the larger of chance and majority; 0 for R²."""
        return max(self.chance or 0.0, self.majority or 0.0)

    @property
    def above(self) -> bool:
        """Whether the whole interval lies above the baseline: only then is anything claimed."""
        return self.low is not None and self.low > self.baseline


def run_trial(table: FeatureTable, trial: Trial, *, tested: FeatureTable | None = None) -> dict[str, Any]:
    """{"scores": one per entry of `test_snapshots`, "seconds"}; JSON-ready. {"reason": text} when it cannot be done.

    tested: of another zoo, when that is tested on. Zoos of one seed share the set-up of each number: a run whose number
            was trained on is then no test run, whatever zoo it lies in
    """
    began = time.monotonic()
    answers: list[dict[int, list[Any]]] = [{} for _ in trial.test_snapshots]
    smallest, target = math.inf, None
    for split_seed in trial.split_seeds:
        try:
            target, trained, found = _one_split(table, tested or table, trial, split_seed)
        except MetaError as error:
            return {"reason": error.message, "seconds": time.monotonic() - began}
        smallest = min(smallest, trained)
        for per_snapshots, own in zip(answers, found, strict=True):
            for number, answer in own.items():
                per_snapshots.setdefault(number, []).append(answer)
    if target is None or not all(answers):
        return {"reason": "no test run is left", "seconds": time.monotonic() - began}
    scores = [asdict(score_of(target, own, int(smallest))) for own in answers]
    return {"scores": scores, "seconds": time.monotonic() - began}


def _one_split(
    table: FeatureTable, tested: FeatureTable, trial: Trial, split_seed: int
) -> tuple[Target, int, list[dict[int, Any]]]:
    """The target, the number of training runs, and per choice of test snapshots: run → (truth, answer)."""

    def candidates(of: FeatureTable, where: Values) -> list[int]:
        learnt = [i for i, run in enumerate(of.runs) if not (trial.converged and run["converged"] is False)]
        return [i for i in learnt if _meets(of.runs[i], where) and _labels(of.runs[i], trial.target, of.snapshots)]

    def in_test(of: FeatureTable, i: int) -> bool:
        return in_test_part(of.runs[i]["identity"], split_seed=split_seed)

    training = [i for i in candidates(table, trial.train_where) if not in_test(table, i)]
    testing = candidates(tested, trial.test_where)
    if tested is not table:
        known = {table.runs[i]["number"] for i in training} if table.seed is not None else set()
        testing = [i for i in testing if table.seed != tested.seed or tested.runs[i]["number"] not in known]
    elif trial.train_where == trial.test_where:
        testing = [i for i in testing if in_test(table, i)]
    else:
        testing = sorted(set(testing) - set(training))
    labels = {i: _labels(table.runs[i], trial.target, table.snapshots) for i in training}
    truth = {i: _labels(tested.runs[i], trial.target, tested.snapshots) for i in testing}
    measured = bool(training) and trial.target not in table.runs[training[0]]["properties"]
    target = Target.of(trial.target, [labels[i] for i in training], measured=measured)
    if trial.train_share < 1:
        training = _share_of(training, labels, target, trial, split_seed)
        target = Target.of(trial.target, [labels[i] for i in training], measured=measured)
    first, last = trial.train_snapshots

    learnt, learnt_names = _of_tensors(table, trial.tensors)
    meta: Trees = build(trial.model, target=trial.target, slice_length=WHOLE, snapshots=trial.train_snapshots)
    if trial.iterations is not None:
        meta.set_params(iterations=trial.iterations, early_stopping=False)
    goals = [np.array([target.encode(label) for label in labels[i][first - 1 : last]]) for i in training]
    meta.fit_statistics([(learnt[i, first - 1 : last], learnt_names) for i in training], goals, target)
    answers = _answers(meta, _of_tensors(tested, trial.tensors), testing)
    found = []
    for span in trial.test_snapshots:
        own = {}
        for i, of_run in zip(testing, answers, strict=True):
            truths = truth[i][span[0] - 1 : span[1]]
            mean = of_run[span[0] - 1 : span[1]].mean(axis=0)
            if target.kind == CLASSIFICATION:
                if truths[0] in target.classes:
                    own[tested.runs[i]["number"]] = (truths[0], target.classes[int(mean.argmax())])
            else:
                own[tested.runs[i]["number"]] = (float(np.mean(truths)), float(mean[0]))
        found.append(own)
    return target, len(training), found


def _answers(meta: Trees, read: Statistics, runs: Sequence[int]) -> npt.NDArray[np.float64]:
    """What is said of every snapshot of some runs, [n, T, C], read all at once."""
    features, names = read
    rows = features[list(runs)]
    return meta.read_statistics((rows.reshape(-1, rows.shape[2]), names)).reshape(*rows.shape[:2], -1)


def _of_tensors(table: FeatureTable, tensors: tuple[str, ...]) -> Statistics:
    """The table's features [N, T, F] and their names: those of some tensors, or all."""
    if not tensors:
        return table.features, table.names
    columns = table.columns(tensors)
    return table.features[:, :, columns], tuple(np.array(table.names)[columns])


def _meets(run: Mapping[str, Any], where: Values) -> bool:
    return all(run["properties"].get(name) in values for name, values in where)


def _labels(run: Mapping[str, Any], name: str, snapshots: int) -> tuple[Any, ...]:
    """One label per snapshot; empty when the run has fewer snapshots than the table, or no label."""
    measurements = run["measurements"]
    if len(measurements) < snapshots:
        return ()
    if name in run["properties"]:
        return (run["properties"][name],) * snapshots
    labels = tuple(m.get(name) for m in measurements)
    return () if any(label is None or not math.isfinite(label) for label in labels) else labels


def _share_of(
    training: list[int], labels: Mapping[int, Sequence[Any]], target: Target, trial: Trial, split_seed: int
) -> list[int]:
    """The first `train_share` of the training runs in an order in which classes take turns; a larger share holds the
    smaller ones."""
    strata = [labels[i][0] if target.kind == CLASSIFICATION else 0 for i in training]
    generator = np.random.default_rng(seed_from_hash("study share", trial.target, split_seed))
    fold = deal_folds(strata, 20, generator)
    return [i for i, f in zip(training, fold, strict=True) if f < round(20 * trial.train_share)]


def score_of(target: Target, answers: Mapping[int, Sequence[tuple[Any, Any]]], n_train_runs: int) -> Score:
    """The score of answers: run → (truth, answer) once per split."""
    numbers = sorted(answers)
    n = len(numbers)
    if target.kind != CLASSIFICATION:
        truth = np.array([answers[i][0][0] for i in numbers], np.float64)
        estimates = np.array([np.mean([a for _, a in answers[i]]) for i in numbers])
        found = regression_scores(truth, estimates)["r2"]
        low, high = found["interval"] or (None, None)
        per_run = {str(i): [float(t), float(e)] for i, t, e in zip(numbers, truth, estimates, strict=True)}
        return Score("r2", found["value"], low, high, None, None, n, n_train_runs, [], None, per_run)
    hits = np.array([sum(t == a for t, a in answers[i]) for i in numbers], np.float64)
    totals = np.array([len(answers[i]) for i in numbers], np.float64)
    low, high = _interval(hits, totals)
    confusion = np.zeros((len(target.classes),) * 2, np.int64)
    for i in numbers:
        for t, a in answers[i]:
            confusion[target.classes.index(t), target.classes.index(a)] += 1
    truths = [answers[i][0][0] for i in numbers]
    counts = [truths.count(c) for c in target.classes]
    per_run = {str(i): [answers[i][0][0], float(h / t)] for i, h, t in zip(numbers, hits, totals, strict=True)}
    return Score(
        measure="accuracy",
        value=float(hits.sum() / totals.sum()),
        low=low,
        high=high,
        chance=1 / len(target.classes),
        majority=max(counts) / n,
        n_runs=n,
        n_train_runs=n_train_runs,
        classes=list(target.classes),
        confusion=confusion.tolist(),
        per_run=per_run,
    )


def _interval(hits: npt.NDArray, totals: npt.NDArray) -> Interval:
    """Wilson where each run was tested once; else the bootstrap over runs, widened by Wilson's where all agree."""
    n = len(hits)
    once = wilson(float((hits / totals).sum()), n)
    if (totals == 1).all():
        return once
    found = bootstrap_share(hits, totals)
    return found if found and found[1] > found[0] else once
