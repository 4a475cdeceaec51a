"""A trial: one meta-classifier of whole networks, trained on some runs and snapshots and tested on others.

Every curve and table of the study that reads whole networks is made of trials; what they differ in is which runs,
snapshots and tensors are read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from weightprint.errors import MetaError
from weightprint.evaluation.answers import table as answers_table
from weightprint.features.table import Table
from weightprint.meta import build
from weightprint.meta.heads import Head, goals_of
from weightprint.meta.learners.base import Examples, deal_folds
from weightprint.meta.targets import CLASSIFICATION, Target, labels_of
from weightprint.seeds import seed_from_hash
from weightprint.study.scores import score_of
from weightprint.study.table import FeatureTable, Moments, StudiedRun
from weightprint.zoo import in_test_part

Values = tuple[tuple[str, tuple[Any, ...]], ...]
"""Conditions on runs: property → the values that are kept."""

SHARES = 20
"""Parts into which training runs are dealt, of which a trial may use some."""


@dataclass(frozen=True)
class Trial:
    """What is trained on and tested on.

    target:          a property of the runs, or a measurement of their snapshots
    train_snapshots: those of a run that are trained on
    test_snapshots:  each choice is tested on its own; a run's answer is the mean over it
    tensors:         those that are read; empty for all
    converged:       whether runs that did not learn are left out, of training and of test
    split_seeds:     one fit for each
    train_share:     share of the training runs that is used, stratified by class
    train_where, test_where: conditions on the runs of either side; None is no condition. With other values on the
                     two sides, every run of the test side may be tested that was not trained on, nor its kin
    iterations:      of the trees; None lets them choose on held-out runs
    model:           a name of `weightprint.meta.MODELS` that boosts trees on what it reads in whole networks
    without:         kinds of tensors that are left out of what is read
    train_zoo, test_zoo: fingerprints of other zoos than the one that is studied, which is ""
    """

    target: str
    train_snapshots: Moments
    test_snapshots: tuple[Moments, ...]
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
class Candidate:
    """A run that can be trained on or tested.

    place:     in its table
    snapshots: numbers of those that are read, from 1
    labels:    of each of them
    """

    place: int
    run: StudiedRun
    snapshots: tuple[int, ...]
    labels: tuple[Any, ...]


Missing = dict[str, set[int]]
"""Numbers of the runs that could not take part, by reason."""


def run_trial(table: FeatureTable, trial: Trial, *, tested: FeatureTable | None = None) -> dict[str, Any]:
    """{"scores": one per entry of `test_snapshots`, "seconds"}; JSON-ready. {"reason": text} when it cannot be done.

    tested: of another zoo, when that is tested on. A run whose kin was trained on is no test run, in whatever zoo

    A score has "left_out": how many runs could not be tested, by reason ("no_such_snapshot", "unlabelled", "kin"), and
    after "train_" how many could not be trained on.
    """
    began = time.monotonic()
    answers: list[list[pl.DataFrame]] = [[] for _ in trial.test_snapshots]
    untested: list[Missing] = [{} for _ in trial.test_snapshots]
    untrained: Missing = {}
    smallest = 0
    for split_seed in trial.split_seeds:
        try:
            trained, found = _one_split(table, tested or table, trial, split_seed, untrained, untested)
        except MetaError as error:
            return {"reason": error.message, "seconds": time.monotonic() - began}
        smallest = min(smallest or trained, trained)
        for of_moments, own in zip(answers, found, strict=True):
            of_moments += [own] if len(own) else []
    if not any(answers):
        return {"reason": "no test run is left", "seconds": time.monotonic() - began}
    scores = []
    for of_moments, missing in zip(answers, untested, strict=True):
        counts = {reason: len(numbers) for reason, numbers in missing.items()}
        counts |= {f"train_{reason}": len(numbers) for reason, numbers in untrained.items()}
        score = score_of(pl.concat(of_moments), smallest) if of_moments else {"reason": "no test run is left"}
        scores.append({**score, "left_out": counts})
    return {"scores": scores, "seconds": time.monotonic() - began}


def _one_split(
    table: FeatureTable,
    tested: FeatureTable,
    trial: Trial,
    split_seed: int,
    untrained: Missing,
    untested: Sequence[Missing],
) -> tuple[int, list[pl.DataFrame]]:
    """The number of training runs, and per choice of test snapshots the answers."""

    def in_test(run: StudiedRun) -> bool:
        return in_test_part(run.identity, split_seed=split_seed)

    def may_train(run: StudiedRun) -> bool:
        return _meets(run, trial.train_where) and not in_test(run)

    training, target = training_of(
        table, trial.target, trial.train_snapshots, may_train, untrained, converged=trial.converged
    )
    if trial.train_share < 1:
        training = _share_of(training, target, trial, split_seed)
        target = _target_of(trial.target, training)
    of_zoo = {one.run.identity for one in training} if tested is table else set()
    kin = {one.run.kin for one in training}
    one_side = tested is table and trial.train_where == trial.test_where

    def may_test(run: StudiedRun) -> bool:
        return _meets(run, trial.test_where) and run.identity not in of_zoo and not (one_side and not in_test(run))

    head = fit_trees(table, training, target, model=trial.model, iterations=trial.iterations, tensors=trial.tensors)
    found = []
    for span, missing in zip(trial.test_snapshots, untested, strict=True):
        testing = candidates(tested, trial.target, span, may_test, missing, converged=trial.converged, kin=kin)
        if target.kind == CLASSIFICATION:
            testing = [one for one in testing if one.labels[0] in target.classes]
        found.append(_answers(head, tested, testing, trial, split_seed))
    return len(training), found


def candidates(
    table: FeatureTable,
    target: str,
    snapshots: Moments,
    may: Callable[[StudiedRun], bool],
    missing: Missing,
    *,
    converged: bool = True,
    kin: Iterable[str] = (),
) -> list[Candidate]:
    """The runs that may take part and have the snapshots and labels, in the order of their identities.

    missing:   those that have not, and those that are `kin`, are added to it
    converged: whether runs that did not learn are left out
    """
    kin = frozenset(kin)
    found = []
    for place, run in enumerate(table.runs):
        if (converged and run.converged is False) or not may(run):
            continue
        numbers = run.moments(snapshots)
        labels = labels_of(run, target, numbers)
        reason = "kin" if run.kin in kin else "no_such_snapshot" if not numbers else "" if labels else "unlabelled"
        if reason:
            missing.setdefault(reason, set()).add(run.number)
        else:
            found.append(Candidate(place, run, numbers, labels))
    return sorted(found, key=lambda one: one.run.identity)


def training_of(
    table: FeatureTable,
    target: str,
    snapshots: Moments,
    may: Callable[[StudiedRun], bool],
    missing: Missing,
    *,
    converged: bool = True,
) -> tuple[list[Candidate], Target]:
    """The runs to train on, as `candidates` finds them, and what there is to predict. Raises MetaError for nothing."""
    found = candidates(table, target, snapshots, may, missing, converged=converged)
    return found, _target_of(target, found)


def _target_of(name: str, training: Sequence[Candidate]) -> Target:
    measured = bool(training) and name not in training[0].run.properties
    return Target.of(name, [one.labels for one in training], measured=measured)


def fit_trees(
    table: FeatureTable,
    training: Sequence[Candidate],
    target: Target,
    *,
    model: str,
    iterations: int | None,
    tensors: tuple[str, ...] = (),
) -> Head:
    """What a model's learner makes of training runs. iterations: None lets it choose their number on held-out runs"""
    given = {} if iterations is None else {"iterations": iterations, "early_stopping": False}
    learner = build(model, target=target.name, **given).learner
    columns = _columns(table, tensors)
    names = tuple(name for name, kept in zip(table.names, columns, strict=True) if kept)
    goals, scale = goals_of(target, [one.labels for one in training])
    rows = np.concatenate([_rows(table, one)[:, columns] for one in training])
    run = np.repeat(np.arange(len(training)), [len(one.snapshots) for one in training])
    fitted = learner.fit(Examples(rows, names, np.concatenate(goals), run, len(target.classes)), seed=0)
    return Head(target, scale, fitted, tuple(one.run.identity for one in training), [])


def _answers(
    head: Head, table: FeatureTable, testing: Sequence[Candidate], trial: Trial, split_seed: int
) -> pl.DataFrame:
    """The answers for runs, which are called by their numbers; each the mean over its snapshots."""
    classes = head.target.classes
    truth: list[float] = []
    answers: list[float] = []
    if testing:
        columns = _columns(table, trial.tensors)
        names = tuple(name for name, kept in zip(table.names, columns, strict=True) if kept)
        outputs = head.outputs(Table(np.concatenate([_rows(table, one)[:, columns] for one in testing]), names))
        ends = np.cumsum([len(one.snapshots) for one in testing])[:-1]
        means = [head.target.mean(of_run, axis=0) for of_run in np.split(outputs, ends)]
        if classes:
            truth = [classes.index(one.labels[0]) for one in testing]
            answers = [int(mean.argmax()) for mean in means]
        else:
            truth = [float(np.mean(one.labels)) for one in testing]
            answers = [float(mean[0]) for mean in means]
    names_of_runs = [str(one.run.number) for one in testing]
    known = {"property": trial.target, "model": trial.model}
    return answers_table(names_of_runs, truth, answers, classes=classes, split=split_seed, **known)


def _rows(table: FeatureTable, one: Candidate) -> npt.NDArray[np.float32]:
    return table.features[one.place, [number - 1 for number in one.snapshots]]


def _columns(table: FeatureTable, tensors: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    return table.columns(tensors) if tensors else np.ones(len(table.names), bool)


def _meets(run: StudiedRun, where: Values) -> bool:
    return all(run.properties.get(name) in values for name, values in where)


def _share_of(training: Sequence[Candidate], target: Target, trial: Trial, split_seed: int) -> list[Candidate]:
    """The first `train_share` of the training runs in an order in which classes take turns; a larger share holds the
    smaller ones."""
    strata = [one.labels[0] if target.kind == CLASSIFICATION else 0 for one in training]
    generator = np.random.default_rng(seed_from_hash("study share", trial.target, split_seed))
    part = deal_folds(strata, SHARES, generator)
    return [one for one, p in zip(training, part, strict=True) if p < round(SHARES * trial.train_share)]
