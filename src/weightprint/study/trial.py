"""A trial: one meta-classifier, fitted on some runs and tested on others. Every result that takes a fit is a trial's.

What trials differ in is which runs, snapshots and tensors are read, and by which model. What comes out is a table of
answers (`weightprint.evaluation.answers`) for each choice of test snapshots or number of slices, and its scores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import polars as pl

from weightprint.errors import MetaError
from weightprint.evaluation.answers import CLASSIFICATION, to_json
from weightprint.evaluation.intervals import bootstrap_share
from weightprint.evaluation.scores import score
from weightprint.meta import build
from weightprint.meta.answers import Reading, answers_of, class_numbers
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.learners.base import deal_folds
from weightprint.meta.models import build_own, model_named
from weightprint.meta.view import LAST, LATER_HALF, WHOLE, Snapshots, choose_labelled
from weightprint.seeds import seed_from_hash
from weightprint.study.cells import explained
from weightprint.zoo import in_test_part
from weightprint.zoo.readable import Readable

R = TypeVar("R", bound=Readable)

Values = tuple[tuple[str, tuple[Any, ...]], ...]
"""Conditions on runs: property → the values that are kept."""

SHARES = 20
"""Parts into which training runs are dealt, of which a trial may use some."""

AVERAGED = (1, 2, 5, 10, 20, 50)
"""Slices whose answers are averaged: one snapshot's only when it is one, then spread over the snapshots."""

OWN_FEATURES = "statistics"
"""What an estimator of the user's is given."""

PLACES = 60
"""Even places along the vector at which slices are read."""


@dataclass(frozen=True)
class Trial:
    """What is trained on and tested on.

    target:          a property of the runs, or a measurement of their snapshots
    train_snapshots: those of a run that are trained on
    test_snapshots:  each choice is tested on its own; a run's answer is the mean over it
    model:           a name of `weightprint.meta.MODELS`
    slice_length:    weights read at a time, or "all"
    averaged:        of slices, the numbers of them whose answers are averaged, each tested on its own
    part:            of the network that slices are read of, or "all"
    places:          snapshots at each of which slices are also read at PLACES
    tensors:         those that are read in whole vectors; empty for all
    without:         kinds of tensors that are left out of what is read
    converged:       whether runs that did not learn are left out, of training and of test
    split_seeds:     one fit for each
    train_share:     share of the training runs that is used, stratified by class
    train_where, test_where: conditions on the runs of either side; () is no condition. With other values on the two
                     sides, every run of the test side may be tested that was not trained on, nor its kin
    iterations:      of boosted trees; None lets them choose on held-out runs
    max_seconds:     time cap of each fit
    settings:        others of the model's, each a name and a value
    estimator:       one of the user's in place of a model of ours, see `weightprint.meta.models.build_own`; `model` is
                     then what it is called
    train_zoo, test_zoo: fingerprints of other zoos than the one that is studied, which is ""
    """

    target: str
    train_snapshots: Snapshots = LATER_HALF
    test_snapshots: tuple[Snapshots, ...] = (LATER_HALF,)
    model: str = "trees"
    slice_length: int | str = WHOLE
    averaged: tuple[int, ...] = ()
    part: str = WHOLE
    places: tuple[Snapshots, ...] = ()
    tensors: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    converged: bool = True
    split_seeds: tuple[int, ...] = (0,)
    train_share: float = 1.0
    train_where: Values = ()
    test_where: Values = ()
    iterations: int | None = None
    max_seconds: float | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    estimator: Any = None
    train_zoo: str = ""
    test_zoo: str = ""

    @property
    def reads_tables(self) -> bool:
        """Whether it reads features of whole vectors, of which a study holds tables."""
        return self.slice_length == WHOLE and model_named(self.model).reads.weights

    @property
    def label(self) -> str:
        """The model and what it reads at a time."""
        return f"{self.model} ({'whole vectors' if self.slice_length == WHOLE else f'slices of {self.slice_length}'})"

    @property
    def cost(self) -> float:
        """About how long it takes, in any unit."""
        if self.slice_length != WHOLE:
            return 2.0 + (self.max_seconds or 10.0)
        if not self.reads_tables:
            return len(self.split_seeds) / 2
        several = isinstance(self.train_snapshots, str) and self.train_snapshots != LAST
        return len(self.split_seeds) * (4 if several else 1) * (1.0 if self.iterations else 2.0)

    def build(self) -> MetaClassifier:
        """The meta-classifier, not fitted."""
        settings: dict[str, Any] = {
            "slice_length": self.slice_length,
            "part": self.part,
            "snapshots": self.train_snapshots,
            "without": self.without,
            "converged": self.converged,
            "max_seconds": self.max_seconds,
        }
        if self.estimator is not None:
            settings |= dict(self.settings)
            view = {name: value for name, value in settings.items() if name not in ("max_seconds", "device")}
            return build_own(self.estimator, self.target, features=OWN_FEATURES, name=self.model, **view)
        if self.iterations is not None:
            settings |= {"iterations": self.iterations, "early_stopping": False}
        return build(self.model, target=self.target, **settings, **dict(self.settings))

    def split(self, runs: Sequence[R], split_seed: int, others: Sequence[R] | None = None) -> tuple[list[R], list[R]]:
        """(runs to train on, runs to test on); the meta-classifier passes over test runs that it or kin was fitted on.

        others: the runs of another zoo, when that is tested on
        """
        in_test = [in_test_part(run.identity, split_seed=split_seed) for run in runs]
        train = [r for r, test in zip(runs, in_test, strict=True) if not test and _meets(r, self.train_where)]
        if others is None and self.train_where == self.test_where:
            others = [run for run, test in zip(runs, in_test, strict=True) if test]
        tested = [run for run in (runs if others is None else others) if _meets(run, self.test_where)]
        return (train if self.train_share == 1 else self._share_of(train, split_seed)), tested

    def _share_of(self, train: Sequence[R], split_seed: int) -> list[R]:
        """The first `train_share` of the runs in an order in which classes take turns; a larger share holds the
        smaller ones."""
        ordered = sorted(train, key=lambda run: run.identity)
        members, target = choose_labelled(ordered, self.build().view, self.target)
        strata = [member.labels[self.target][0] if target.kind == CLASSIFICATION else 0 for member in members]
        part = deal_folds(strata, SHARES, np.random.default_rng(seed_from_hash("study share", self.target, split_seed)))
        kept = {m.run.identity for m, p in zip(members, part, strict=True) if p < round(SHARES * self.train_share)}
        return [run for run in ordered if run.identity in kept]


@explained
def run_trial(runs: Sequence[Readable], trial: Trial, others: Sequence[Readable] | None = None) -> dict[str, Any]:
    """Fit and test in every split: {"scores", "answers", "places", "fit_seconds", "capped", "seconds"}, JSON-ready;
    {"reason": text} when it cannot be done.

    runs:   of one zoo, complete
    others: of another zoo, when that is tested on

    scores:  one per entry of `averaged` or `test_snapshots`, see `weightprint.evaluation.scores.score`, with
             "n_train_runs" of the smallest fit and "left_out": how many runs could not be tested, by reason, and after
             "train_" how many could not be trained on
    answers: of each of them the table as `weightprint.evaluation.answers.to_json` keeps it
    places:  of the last split {"starts" [PLACES], "n_runs"} and, for each of `places` that runs have ("snapshots" [M])
             and one slice at each start, the share of runs named right and its interval, "hits", "low" and "high", and
             the mean "probability" of the right class [M, PLACES]; None for networks of several lengths
    """
    count = len(trial.averaged) or len(trial.test_snapshots)
    answers: list[list[pl.DataFrame]] = [[] for _ in range(count)]
    left_out: list[dict[str, int]] = [defaultdict(int) for _ in range(count)]
    places, fits = None, []
    for seed in trial.split_seeds:
        train, test = trial.split(runs, seed, others)
        meta = trial.build().fit(train)
        fits.append((len(meta.train_runs_), meta.seconds_, bool(meta.facts_.get("capped", False))))
        for i, (readings, excluded) in enumerate(_readings(meta, trial, test)):
            answers[i] += [answers_of(meta, readings, split=seed)] if readings else []
            for reason, n in [*excluded.items(), *((f"train_{r}", n) for r, n in meta.excluded_.items())]:
                left_out[i][reason] = max(n, left_out[i][reason])
        if trial.places:
            places = _places(meta, test, trial.places)
    if not any(answers):
        raise MetaError("no test run is left")
    sizes, seconds, capped = zip(*fits, strict=True)
    tables = [pl.concat(of_score) if of_score else None for of_score in answers]
    scores = [{"reason": "no test run is left"} if table is None else score(table) for table in tables]
    return {
        "scores": [
            {**s, "n_train_runs": min(sizes), "left_out": dict(n)} for s, n in zip(scores, left_out, strict=True)
        ],
        "answers": kept(tables),
        "places": places,
        "fit_seconds": sum(seconds),
        "capped": any(capped),
    }


def kept(tables: Iterable[pl.DataFrame | None]) -> list[dict[str, Any] | None]:
    """Tables of answers as JSON, without their probabilities."""
    return [None if table is None else to_json(table.drop("probabilities")) for table in tables]


def _meets(run: Readable, where: Values) -> bool:
    return all(run.properties.get(name) in values for name, values in where)


def _readings(
    meta: MetaClassifier, trial: Trial, test: Sequence[Readable]
) -> list[tuple[list[Reading], Mapping[str, int]]]:
    """What is read for each score, and the runs left out."""
    if trial.averaged:
        lengths = {len(run.measurements) or len(run.weights) for run in test if run.status == "complete"}
        fewest = min((len(meta.view.snapshots_of(total)) for total in lengths), default=1)
        readings, excluded = meta.read_unseen(test, slices=-(-max(trial.averaged) // max(1, fewest)))
        return [([_first_slices(r, count) for r in readings], excluded) for count in trial.averaged]
    found: list[tuple[list[Reading], Mapping[str, int]]] = []
    for snapshots in trial.test_snapshots:
        try:
            found.append(meta.read_unseen(test, snapshots=snapshots))
        except MetaError:  # no run has these snapshots
            found.append(([], {}))
    return found


def _first_slices(reading: Reading, count: int) -> Reading:
    """With `count` slices alone, the last snapshots' first."""
    outputs = reading.outputs[::-1].swapaxes(0, 1).reshape(1, -1, reading.outputs.shape[2])  # [1, K·T, C]
    return replace(reading, outputs=outputs[:, :count])


def _places(meta: MetaClassifier, test: Sequence[Readable], moments: Sequence[Snapshots]) -> dict[str, Any] | None:
    found: dict[str, Any] = {name: [] for name in ("snapshots", "hits", "low", "high", "probability")}
    for moment in moments:
        try:
            readings, _ = meta.read_unseen(test, slices=PLACES, spread=True, snapshots=moment)
        except MetaError:  # no run has these snapshots
            continue
        if len({r.layout.size for r in readings}) > 1:
            return None
        outputs = np.stack([r.outputs[-1] for r in readings])  # [N, PLACES, C]
        truth = class_numbers(readings)
        hits = (outputs.argmax(axis=2) == truth[:, None]).astype(np.float64)
        intervals = [bootstrap_share(column, np.ones(len(readings))) or (None, None) for column in hits.T]
        found["snapshots"].append(readings[0].snapshots[-1])
        found["hits"].append(hits.mean(axis=0).tolist())
        found["low"].append([low for low, _ in intervals])
        found["high"].append([high for _, high in intervals])
        found["probability"].append(outputs[np.arange(len(truth)), :, truth].mean(axis=0).tolist())
        found |= {"starts": [] if readings[0].starts is None else readings[0].starts[0].tolist()}
        found |= {"n_runs": len(readings)}
    return found if found["snapshots"] else None
