"""What fitted meta-classifiers can be asked about runs besides their scores: averaging, calibration, conformal sets.

Conformal sets are made by the library MAPIE (extra `[conformal]`): maintained, and with no requirement that weightprint
does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from weightprint.errors import MetaError
from weightprint.evaluation.calibration import DRAWS, calibration_scores, temperature, tempered
from weightprint.evaluation.intervals import bootstrap, bootstrap_share, clopper_pearson, listed
from weightprint.evaluation.scores import scores
from weightprint.meta.answers import Reading, answers_of, class_numbers
from weightprint.meta.comparison import folds
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.targets import CLASSIFICATION, Target
from weightprint.meta.view import Member, Trained, choose, choose_labelled, describe
from weightprint.seeds import seed_from_hash
from weightprint.zoo.readable import Readable, families

COUNTS = (1, 2, 5, 10, 20, 50)
"""Slices per snapshot that are averaged."""


def by_slices(meta: MetaClassifier, runs: Iterable[Readable], *, counts: Sequence[int] = COUNTS) -> dict[str, Any]:
    """How well a fitted model does when 1, 2, 5, … slices of each snapshot are averaged, on runs it was not fitted on.

    Returns a JSON-ready document whose "results" have for each count of slices (None for a model of whole vectors)
    the scores "per_run", of "one_snapshot" and of the "last_snapshot". The slices of a smaller count are among those
    of a larger one. Raises MetaError as `evaluate` does.
    """
    counts = sorted(set(counts)) if meta.local else [1]
    if not counts or counts[0] < 1:
        raise MetaError(f"counts of slices must be from 1 up, not {list(counts)}")
    readings, excluded = meta.read_unseen(runs, slices=counts[-1])
    target = meta.target_
    results = [{"slices": count if meta.local else None, **_averaged(meta, readings, count)} for count in counts]
    return {
        "property": meta.target,
        "model": meta.model,
        "kind": target.kind,
        "n_runs": len(readings),
        "n_snapshots": sorted({len(reading.snapshots) for reading in readings}),
        "slice_length": meta.view.slice_length,
        "excluded": excluded,
        "results": results,
    }


def _averaged(meta: MetaClassifier, readings: Sequence[Reading], count: int) -> dict[str, Any]:
    """Scores when the first `count` slices of each snapshot are averaged, and all snapshots ("per_run"), none (
    "one_snapshot", counted over all of them; bootstrap over runs; of values the mean absolute error alone), or the last
    one is read alone ("last_snapshot")."""
    target = meta.target_
    means = [replace(r, outputs=target.mean(r.outputs[:, :count], axis=1)[:, None]) for r in readings]  # each [T, 1, C]
    last = [replace(r, outputs=r.outputs[-1:], labels=r.labels[-1:]) for r in means]
    whole, at_the_end = (scores(answers_of(meta, some)) for some in (means, last))
    if target.kind == CLASSIFICATION:
        one = whole["per_slice" if meta.local else "per_snapshot"]
    else:
        errors = np.array([np.abs(r.outputs[:, 0, 0] - np.array(r.labels, float)).sum() for r in means])
        totals = np.array([len(r.labels) for r in means], float)
        mae = {"value": float(errors.sum() / totals.sum()), "interval": listed(bootstrap_share(errors, totals))}
        one = {"mae": mae, "n_runs": len(readings)}
    return {"per_run": whole["per_run"], "one_snapshot": one, "last_snapshot": at_the_end["per_run"]}


def calibrate(
    meta: MetaClassifier,
    validation: Iterable[Readable],
    test: Iterable[Readable],
    *,
    slices: int = 10,
    one_snapshot: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """How well calibrated a fitted classifier is on test runs, as it is and with a temperature from validation runs.

    validation:   runs that it was not fitted on; see `weightprint.meta.split_validation`
    test:         others; those that are validation runs or their kin are left out
    one_snapshot: judge by one random snapshot of each run instead of the mean over its snapshots

    Returns a JSON-ready document: "temperature", `calibration_scores` of test runs "before" and "after", and the test
    runs "excluded", by reason. Probabilities are those for equally frequent classes as long as the fit balanced them.
    Raises MetaError when it regresses, or when one of both has no run left.
    """
    meta.check_fitted()
    if meta.target_.kind != CLASSIFICATION:
        raise MetaError(f"{meta.target} is a number: there are no probabilities to calibrate")
    validation = list(validation)
    kin = {name for run in validation for name in run.kin}
    test = list(test)
    apart = [run for run in test if kin.isdisjoint(run.kin)]
    if test and not apart:
        problem = f"no test run is left: all {len(test)} are validation runs or share random streams with one"
        raise MetaError(problem, hint="give other runs to test, such as the test part of a split")

    def read(runs: Iterable[Readable]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp], dict[str, int]]:
        readings, excluded = meta.read_unseen(runs, slices=slices)
        rows = [_of_one_snapshot(r, seed) if one_snapshot else r.mean for r in readings]
        return np.array(rows), class_numbers(readings), excluded

    probabilities, truth, _ = read(validation)
    result = temperature(probabilities, truth)
    n_validation = len(truth)
    probabilities, truth, excluded = read(apart)
    if len(apart) < len(test):
        excluded = {**excluded, "kin": excluded.get("kin", 0) + len(test) - len(apart)}
    return {
        "property": meta.target,
        "model": meta.model,
        "unit": "snapshot, one per run" if one_snapshot else "run",
        "n_validation_runs": n_validation,
        "n_runs": len(truth),
        "excluded": excluded,
        "temperature": result,
        "before": calibration_scores(probabilities, truth, draws=draws, seed=seed),
        "after": calibration_scores(tempered(probabilities, result), truth, draws=draws, seed=seed),
    }


def draw_snapshot(identity: str, snapshots: Sequence[int], seed: int) -> int:
    """One of a run's snapshots; depends on the run and the seed alone."""
    return snapshots[seed_from_hash("one snapshot", seed, identity) % len(snapshots)]


def _of_one_snapshot(reading: Reading, seed: int) -> npt.NDArray[np.float64]:
    number = draw_snapshot(reading.run.identity, reading.snapshots, seed)
    return reading.outputs[reading.snapshots.index(number)].mean(axis=0)


LEVELS = (0.8, 0.9, 0.95)
FOLDS = 5


def conformal_sets(
    meta: MetaClassifier,
    train: Iterable[Readable],
    test: Iterable[Readable],
    *,
    levels: Sequence[float] = LEVELS,
    count: int = FOLDS,
    slices: int = 10,
    seed: int = 0,
) -> dict[str, Any]:
    """Cross-conformal sets for the test runs, from one random snapshot of each run.

    meta:   settings; clones are fitted on all snapshots of all folds of the training runs but one, and on all folds
    levels: the shares of runs whose set is to hold the true class
    count:  of folds; kin share one
    test:   those that are training runs or their kin are left out

    A class is in a run's set when its score there is not among the worst of the scores that training runs got from the
    models that had not seen them (Romano, Sesia and Candès, "Classification with valid and adaptive coverage", NeurIPS
    2020, section 2.3; the score is one minus the probability). Guaranteed is a coverage of 1 − 2 (1 − level),
    expected is the level, as long as test runs come from where training runs come from.

    Returns a JSON-ready document: "levels" with coverage and its exact (Clopper–Pearson) interval, overall and per
    class, the mean set size, how many sets have which size, and "confident_errors": sets of one wrong class. "sets" are
    the classes of each test run at each level. Raises MetaError without the library, when the target is a number, or
    when a class has a single training run (kin count as one).
    """
    try:
        from mapie.classification import CrossConformalClassifier
    except ImportError as error:
        raise MetaError("conformal sets need the library MAPIE", hint="pip install 'weightprint[conformal]'") from error
    from sklearn.model_selection import PredefinedSplit

    target, learn, judged, excluded = _members(meta, train, test)
    n = len(learn)
    truth = [np.array([_class(target, m) for m in part], np.intp) for part in (learn, judged)]
    kin = families([m.run for m in learn])
    scarce = [label for c, label in enumerate(target.classes) if len(set(kin[truth[0] == c])) < 2]
    if scarce:
        runs = "one training run" if len(set(kin)) == n else "training runs of one kin alone"
        raise MetaError(f"{target.name} {scarce[0]!r} has {runs}: its fold would leave none to learn from")
    least = min(levels) if levels else 0
    if not levels or least <= 0 or max(levels) >= 1:
        raise MetaError(f"levels must lie between 0 and 1, not {list(levels)}")
    # The library asks for α (n − 1) scores that are at least as bad, the source for more than α (n + 1) − 1, which is
    # less: with few training runs the library's sets would be too small. At these levels it asks for the source's.
    alphas = [((1 - level) * (n + 1) - 1) / (n - 1) for level in levels]
    if min(alphas) <= 0:
        raise MetaError(
            f"sets at level {max(levels)} take at least {int(np.ceil(1 / (1 - max(levels))))} training runs, not {n}",
            hint="a lower level",
        )
    reader = _SnapshotReader(meta, [*learn, *judged], target, slices, seed)
    fold = folds([m.run for m in learn], target.name, min(count, len(set(kin))), seed=seed)
    conformal = CrossConformalClassifier(
        reader, confidence_level=[1 - alpha for alpha in alphas], conformity_score="lac", cv=PredefinedSplit(fold)
    )
    conformal.fit_conformalize(np.arange(n)[:, None], truth[0])
    predicted, sets = conformal.predict_set(np.arange(n, n + len(judged))[:, None], agg_scores="crossval")
    return {
        "property": target.name,
        "model": meta.model,
        "classes": list(target.classes),
        "n_train_runs": n,
        "n_runs": len(judged),
        "folds": int(fold.max()) + 1,
        "snapshots_per_run": 1,
        "slices": slices if meta.local else None,
        "excluded": excluded,
        "accuracy": float((predicted == truth[1]).mean()),
        "levels": [{"level": level, **set_scores(sets[:, :, i], truth[1])} for i, level in enumerate(levels)],
        "sets": [
            {
                "run": member.run.identity,
                "snapshot": draw_snapshot(member.run.identity, member.snapshots, seed),
                "truth": member.labels[target.name][0],
                "sets": [[target.classes[c] for c in np.flatnonzero(of_run[:, i])] for i in range(len(levels))],
            }
            for member, of_run in zip(judged, sets, strict=True)
        ],
    }


def set_scores(sets: npt.NDArray[np.bool_], truth: npt.NDArray[np.intp]) -> dict[str, Any]:
    """Coverage and size of sets [N, C] for the class numbers [N]."""
    n, classes = sets.shape
    covered = sets[np.arange(n), truth]
    sizes = sets.sum(axis=1)
    wrong = int(((sizes == 1) & ~covered).sum())
    return {
        "n": n,
        "covered": int(covered.sum()),
        "coverage": float(covered.mean()),
        "interval": list(clopper_pearson(int(covered.sum()), n)),
        "mean_size": float(sizes.mean()),
        "mean_size_interval": listed(bootstrap(lambda counts: counts @ sizes / n, n)),
        "sizes": np.bincount(sizes, minlength=classes + 1).tolist(),
        "confident_errors": {"n": wrong, "share": wrong / n, "interval": list(clopper_pearson(wrong, n))},
        "per_class": [
            {"covered": int(covered[truth == c].sum()), "n": int((truth == c).sum())} for c in range(classes)
        ],
    }


def _members(
    meta: MetaClassifier, train: Iterable[Readable], test: Iterable[Readable]
) -> tuple[Target, list[Member], list[Member], dict[str, int]]:
    """The target, the runs to learn from and those to judge by, and the test runs left out, by reason."""
    meta.check()
    train = sorted(train, key=lambda run: str(run.identity))
    learn, target = choose_labelled(train, meta.view, meta.target)
    if target.kind != CLASSIFICATION:
        raise MetaError(f"{meta.target} is a number: conformal sets are of classes")
    shared = {name for member in learn for name in member.run.kin}
    seen = Trained([member.run.identity for member in learn], shared)
    judged, excluded = choose(test, meta.view, [meta.target], trained=seen)
    known = [m for m in judged if _class(target, m) is not None]
    if len(known) < len(judged):
        excluded["class_not_trained"] = len(judged) - len(known)
    if not known:
        raise MetaError(f"no test run is left: {describe(excluded)}", hint="give the two parts of a split, zoo.split()")
    return target, learn, known, dict(+excluded)


def _class(target: Target, member: Member) -> Any:
    """The number of a run's class; None for one that no training run had."""
    return target.encode(member.labels[target.name][0])


class _SnapshotReader(ClassifierMixin, BaseEstimator):
    """A meta-classifier as a scikit-learn classifier of numbered runs [N, 1]: fits on all snapshots, reads one."""

    def __init__(self, meta: MetaClassifier, members: Sequence[Member], target: Target, slices: int, seed: int) -> None:
        self.meta, self.members, self.target, self.slices, self.seed = meta, members, target, slices, seed

    def __sklearn_clone__(self) -> _SnapshotReader:
        return _SnapshotReader(self.meta, self.members, self.target, self.slices, self.seed)

    def fit(self, X: npt.NDArray, y: npt.NDArray) -> _SnapshotReader:
        self.meta_ = clone(self.meta).fit([self.members[i].run for i in X[:, 0]])
        self.classes_ = np.array([self.target.classes.index(c) for c in self.meta_.classes_])
        return self

    def predict_proba(self, X: npt.NDArray) -> npt.NDArray[np.float64]:
        probabilities = []
        for i in X[:, 0]:
            member = self.members[i]
            number = draw_snapshot(member.run.identity, member.snapshots, self.seed)
            readings, excluded = self.meta_.read([member.run], slices=self.slices, snapshots=(number, number))
            if not readings:
                raise MetaError(f"{member.run.name} cannot be read: {describe(excluded)}")
            probabilities.append(readings[0].mean)
        return np.array(probabilities)

    def predict(self, X: npt.NDArray) -> npt.NDArray[np.intp]:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
