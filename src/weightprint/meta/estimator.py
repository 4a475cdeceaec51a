"""The meta-classifier: a view, features and a learner, each a value of its own, and the same steps for all of them."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from weightprint.errors import CorruptFile, MetaError, did_you_mean
from weightprint.evaluation import scores as evaluation
from weightprint.features import store
from weightprint.features.table import Table, features_named
from weightprint.meta import targets
from weightprint.meta.answers import Head, Reading, answers_of, count_classes, goals_of
from weightprint.meta.learners.base import Examples, Learner, Vectors, check_whole
from weightprint.meta.targets import CLASSIFICATION, Target
from weightprint.meta.view import Member, Snapshots, Trained, View, choose, describe, report_corrupt
from weightprint.zoo.readable import Readable

Content = TypeVar("Content")


class MetaClassifier(BaseEstimator):
    """Reads weights and predicts a property, in scikit-learn's manner: one row is one run.

    target:   a property of the runs ("optimizer") or a measurement of their snapshots ("test_accuracy")
    view:     which weights are seen
    features: what is read in them, a name of `weightprint.features.table.FEATURES`
    learner:  what fits the table of features
    model:    what the three together are called
    together: further targets, each with a learner of its own on the same table
    seed:     of every random choice; equal seeds give equal fits

    After `fit`: `heads_` (what was learnt for each target), `target_` (name, kind, classes), `classes_`, `train_runs_`
    (identities), `train_kin_`, `excluded_` (runs left out, by reason), `class_counts_` (of each class the runs kept
    and removed), `lengths_` (of the training vectors), `seconds_`, `facts_` (how the learner's fit went).
    Classes are balanced while fitting: probabilities are those for equally frequent classes.

    `weightprint.meta.build` makes one by its model's name, with checked settings.
    """

    heads_: dict[str, Head]
    train_kin_: tuple[str, ...]
    excluded_: dict[str, int]
    lengths_: tuple[int, ...]
    seconds_: float

    def __init__(
        self,
        target: str,
        *,
        view: View,
        features: str,
        learner: Learner,
        model: str = "own",
        together: tuple[str, ...] = (),
        seed: int = 0,
    ) -> None:
        self.target = target
        self.view = view
        self.features = features
        self.learner = learner
        self.model = model
        self.together = together
        self.seed = seed

    # What the first target's head knows, under the names that scikit-learn and readers expect.

    @property
    def _head(self) -> Head:
        return self.heads_[self.target]

    @property
    def target_(self) -> Target:
        """Its name, kind and classes."""
        return self._head.target

    @property
    def classes_(self) -> tuple[Any, ...]:
        """In the order of the columns of `predict_proba`; empty for a regression."""
        return self._head.target.classes

    @property
    def train_runs_(self) -> tuple[str, ...]:
        """Identities of the runs it was fitted on."""
        return self._head.train_runs

    @property
    def class_counts_(self) -> list[dict[str, Any]]:
        """Of each class the runs that were kept and that were left out."""
        return self._head.class_counts

    @property
    def facts_(self) -> Mapping[str, Any]:
        """How the learner's fit went."""
        return self._head.fitted.facts

    @property
    def local(self) -> bool:
        """Whether it reads slices; otherwise whole vectors."""
        return self.view.length is not None

    def check(self) -> None:
        """Raise MetaError for settings that cannot be; `fit` and `build` call it."""
        self.view.check()
        reads = features_named(self.features)
        self.learner.check()
        if self.local and not reads.slices:
            problem = f"{self.model} reads whole vectors, not slices of {self.view.slice_length} weights"
            raise MetaError(problem, hint="--slice-length all")
        if not self.local and not reads.whole:
            raise MetaError(f"{self.model} reads slices, not whole vectors", hint="--slice-length 5000")
        if self.view.length is not None and self.view.length < reads.shortest:
            problem = f"{self.model} reads slices of {reads.shortest} weights or more, not {self.view.slice_length}"
            raise MetaError(problem, hint="--slice-length 5000")
        check_whole("seed", self.seed, 0)
        names = self.together
        if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) for name in names):
            raise MetaError(f"together must be a sequence of properties' names, not {names!r}")
        if len({self.target, *names}) < 1 + len(names):
            raise MetaError("target and together name a property twice")

    def fit(self, runs: Iterable[Readable], y: None = None) -> MetaClassifier:
        """Learn from runs: give it the training part of a zoo's split. Labels come from the runs.

        Takes complete runs only; others, and those that cannot be read or have no label, are counted in
        `excluded_`. A corrupt run is named in a warning. A run that lacks the label of one of several targets is left
        out of that one alone. Raises MetaError when nothing can be learnt.
        """
        self.check()
        began = time.monotonic()
        runs = sorted(runs, key=lambda run: str(run.identity))
        if not runs:
            raise MetaError("the zoo has no runs to fit on")
        names = [self.target, *self.together]
        measured = {name: targets.check_name(name, runs) for name in names}
        members, excluded = choose(runs, self.view, names)
        tables: list[Table] = []
        if self.learner.redraws:
            members = [member for member, _ in _readable(members, excluded, lambda member: member.weights().size)]
        else:
            members, tables, _ = self._read_all(members, excluded, "fit", self.view.draws)
        if not members:
            raise MetaError(
                f"no run is left to fit on: {describe(excluded)}",
                hint="--converged off keeps runs that did not learn" if excluded["not_converged"] else "",
            )
        heads = {name: self._fit_head(name, measured[name], members, tables, runs) for name in names}
        self.heads_ = heads
        self.train_kin_ = tuple(sorted({name for member in members for name in member.run.kin}))
        self.excluded_ = dict(sorted((+excluded).items()))
        self.lengths_ = tuple(sorted({member.layout.size for member in members}))
        self.seconds_ = time.monotonic() - began
        return self

    def _fit_head(
        self, name: str, measured: bool, members: Sequence[Member], tables: Sequence[Table], runs: Sequence[Readable]
    ) -> Head:
        labelled = [i for i, member in enumerate(members) if member.labels[name]]
        labelled_members = [members[i] for i in labelled]
        target = Target.of(name, [member.labels[name] for member in labelled_members], measured=measured)
        goals, scale = goals_of(target, [member.labels[name] for member in labelled_members])
        learner = self.learner
        if learner.redraws:
            reading = [member.weights for member in labelled_members]
            layouts = [member.layout for member in labelled_members]
            view = self.view
            examples: Any = Vectors(reading, layouts, goals, len(target.classes), view.part, view.length)
            if self.together and getattr(learner, "checkpoint", None):
                learner = replace(learner, checkpoint=f"{learner.checkpoint}.{name}")  # type: ignore[type-var, attr-defined]
        else:
            examples = self._examples(name, [tables[i] for i in labelled], goals, target)
        fitted = learner.fit(examples, seed=self.seed)
        identities = tuple(member.run.identity for member in labelled_members)
        return Head(target, scale, fitted, identities, count_classes(runs, target, identities))

    def _examples(self, name: str, tables: Sequence[Table], goals: Sequence[npt.NDArray], target: Target) -> Examples:
        names = tuple(dict.fromkeys(column for table in tables for column in table.names))
        if self.features == "fields":  # of the other properties alone
            names = tuple(column for column in names if column != name and not column.startswith(f"{name}="))
        rows = np.concatenate([table.aligned(names) for table in tables])
        if features_named(self.features).per_run:
            is_text = np.array(["=" in column for column in names], bool)
            rows[:, is_text] = np.nan_to_num(rows[:, is_text])  # a text that a run does not have
            kept = ~is_text | (rows.sum(axis=0) > 1)  # a text of one run alone is its name
            rows, names = rows[:, kept], tuple(np.array(names)[kept].tolist())
            goals = [goal[:1] if target.classes else goal.mean(keepdims=True) for goal in goals]
        counts = [len(table.rows) for table in tables]
        repeated = [np.repeat(goal, count // len(goal)) for goal, count in zip(goals, counts, strict=True)]
        run = np.repeat(np.arange(len(tables)), counts)
        return Examples(rows, names, np.concatenate(repeated), run, len(target.classes))

    def prepare(self, runs: Iterable[Readable], *, slices: int | None = None) -> None:
        """Have the features' store hold what `fit` will read in these runs or, given a number of slices, what `read`
        will. Raises MetaError when they cannot be read this way."""
        members, excluded = choose(runs, self.view, [self.target, *self.together])
        purpose, count = ("fit", self.view.draws) if slices is None else ("slices", slices)
        self._read_all(members, excluded, purpose, count)

    def _read_all(
        self, members: Sequence[Member], excluded: Counter[str], purpose: str | None, count: int
    ) -> tuple[list[Member], list[Table], list[npt.NDArray[np.int64] | None]]:
        """The runs that can be read, the table of each, and where its slices begin."""
        reads, without, length = features_named(self.features), self.view.without, self.view.length

        def read(member: Member) -> tuple[Table, npt.NDArray[np.int64] | None]:
            starts = member.starts(purpose, count, self.seed)
            table = store.read(member.run, reads, member.snapshots, without=without, starts=starts, length=length)
            return table, starts

        readable = list(_readable(members, excluded, read))
        return [m for m, _ in readable], [table for _, (table, _) in readable], [starts for _, (_, starts) in readable]

    def read(
        self,
        runs: Iterable[Readable],
        *,
        slices: int = 10,
        spread: bool = False,
        snapshots: Snapshots | None = None,
        held_out: bool = False,
        target: str | None = None,
    ) -> tuple[list[Reading], dict[str, int]]:
        """What it reads in each run, snapshot by snapshot and slice by slice, and the runs left out, by reason.

        slices:    per snapshot; ignored for whole vectors
        spread:    evenly over the part instead of at random, the same places in every snapshot
        snapshots: other ones than it was fitted on
        held_out:  only runs that neither it nor their kin was fitted on, that are complete, converged (if so fitted)
                   and labelled
        target:    one of `together` instead of the first

        Random places depend on the seed and the run's identity alone. Raises MetaError before a fit.
        """
        self.check_fitted()
        if slices < 1:
            raise MetaError(f"slices must be at least 1, not {slices}")
        name = target or self.target
        head = self.heads_[name]
        view = self.view if snapshots is None else View(**{**vars(self.view), "snapshots": snapshots})
        trained = self._trained() if held_out else None
        members, excluded = choose(runs, view, [name], trained=trained, filtered=held_out)
        readings = []
        together = 1 if self.learner.redraws else len(members) or 1  # tables of raw weights are too large to be held
        for first in range(0, len(members), together):
            part = members[first : first + together]
            part, tables, starts = self._read_all(part, excluded, None if spread else "slices", slices)
            for member, places, outputs_of in zip(part, starts, _outputs(head, tables), strict=True):
                shape = (len(member.snapshots), 1) if places is None else places.shape
                # One answer for all snapshots, of features that are read once per run.
                outputs = np.tile(outputs_of, (*shape, 1)) if len(outputs_of) == 1 else outputs_of.reshape(*shape, -1)
                labels = member.labels[name]
                reading = Reading(member.run, member.snapshots, labels, places, outputs, member.layout, head.target)
                readings.append(reading)
        return readings, dict(sorted((+excluded).items()))

    def read_unseen(
        self, runs: Iterable[Readable], *, target: str | None = None, **places: Any
    ) -> tuple[list[Reading], dict[str, int]]:
        """`read` of the runs that it can be judged by: neither fitted on nor kin of such, complete, labelled, of a
        class that it knows.

        places: slices, spread and snapshots, as for `read`

        Raises MetaError when no such run is left.
        """
        self.check_fitted()
        runs = list(runs)
        readings, excluded = self.read(runs, **places, held_out=True, target=target)
        goal = self.heads_[target or self.target].target
        known = [r for r in readings if goal.encode(r.labels[0]) is not None]
        if len(known) < len(readings):
            excluded["class_not_trained"] = len(readings) - len(known)
        if not known:
            seen = set(self._trained().runs)
            trained = sum(run.identity in seen for run in runs)
            problem = f"no run is left to evaluate on: {trained} of {len(runs)} were trained on, {describe(excluded)}"
            raise MetaError(problem, hint="evaluate on runs that were not trained on, such as the test part of a split")
        return known, excluded

    def predict_proba(self, runs: Iterable[Readable], *, slices: int = 10) -> npt.NDArray[np.float64]:
        """Class probabilities of every run, in their order: float64 [N, C]; columns follow `classes_`.

        The mean over the run's selected snapshots and `slices` random slices of each. NaN for a run that cannot be
        read: too short, without weights, corrupt. Raises MetaError when it regresses.
        """
        self.check_fitted()
        if self.target_.kind != CLASSIFICATION:
            raise MetaError(f"{self.target} is a number: there are no class probabilities", hint="use predict")
        return self._means(runs, slices)

    def predict(self, runs: Iterable[Readable], *, slices: int = 10) -> npt.NDArray:
        """One label per run, in their order: object [N] of classes, None where a run cannot be read.

        Regression: float64 [N], NaN where a run cannot be read. Raises MetaError before a fit.
        """
        means = self._means(runs, slices)
        if self.target_.kind != CLASSIFICATION:
            return means[:, 0]
        labels = np.empty(len(means), object)
        labels[:] = [None if np.isnan(mean).any() else self.classes_[mean.argmax()] for mean in means]
        return labels

    def score(self, runs: Iterable[Readable], y: None = None) -> float:
        """Accuracy per run, or R², over the runs that neither it nor their kin was fitted on. Raises as `evaluate`."""
        per_run = self.evaluate(runs)["per_run"]
        value = per_run["accuracy"] if "accuracy" in per_run else per_run["r2"]["value"]
        return math.nan if value is None else value

    def evaluate(self, runs: Iterable[Readable], *, slices: int = 10, target: str | None = None) -> dict[str, Any]:
        """How well it does on the runs that neither it nor their kin was fitted on: a JSON-ready document with
        intervals.

        target: one of `together` instead of the first

        Raises MetaError when no such run is left.
        """
        runs = list(runs)
        began = time.monotonic()
        readings, excluded = self.read_unseen(runs, slices=slices, target=target)
        return self.judge(runs, readings, excluded, slices=slices, target=target, seconds=time.monotonic() - began)

    def judge(
        self,
        runs: Iterable[Readable],
        readings: Sequence[Reading],
        excluded: Mapping[str, int],
        *,
        slices: int,
        target: str | None = None,
        seconds: float = 0.0,
    ) -> dict[str, Any]:
        """The document of `evaluate`, from what `read_unseen` gave for these runs in `seconds`."""
        name = target or self.target
        head = self.heads_[name]
        facts = head.fitted.facts
        document: dict[str, Any] = {
            "property": name,
            "model": self.model,
            "kind": head.target.kind,
            "n_runs": len(readings),
            "n_train_runs": len(head.train_runs),
            "slices": slices if self.local else None,
            **{name: value for name, value in self.view.to_json().items() if name != "draws"},
            "seed": self.seed,
            "fit_seconds": self.seconds_,
            "max_seconds": getattr(self.learner, "max_seconds", None),
            "capped": bool(facts.get("capped", False)),
            **{fact: facts[fact] for fact in FIT_FACTS if fact in facts},
            "excluded": dict(excluded),
            **evaluation.length_note([*self.lengths_, *(r.layout.size for r in readings)]),
        }
        answers = answers_of(self, readings)
        if head.target.kind == CLASSIFICATION:
            trained = self._trained()
            seen, kin = frozenset(trained.runs), frozenset(trained.kin)
            unseen = [run for run in runs if run.identity not in seen and kin.isdisjoint(run.kin)]
            document["per_class"] = count_classes(unseen, head.target, [r.run.identity for r in readings])
            document["train_per_class"] = head.class_counts
        else:
            document["learnt_on"] = "logarithm" if head.target.log else "value"
        document |= evaluation.scores(answers)
        if head.target.log:
            document["per_run_log10"] = evaluation.scores_of_logarithms(answers)
        document["seconds"] = seconds
        return document

    def evaluate_all(self, runs: Iterable[Readable], *, slices: int = 10) -> list[dict[str, Any]]:
        """`evaluate` for every target: one document each. Raises MetaError when no run is left for one of them."""
        self.check_fitted()
        runs = list(runs)
        return [self.evaluate(runs, slices=slices, target=name) for name in self.heads_]

    def alone(self, target: str) -> MetaClassifier:
        """The fitted meta-classifier of one of its targets. Raises MetaError before a fit, or for another target."""
        self.check_fitted()
        if target not in self.heads_:
            raise MetaError(f"nothing was learnt for {target!r}", hint=did_you_mean(target, self.heads_))
        meta = copy(self).set_params(target=target, together=())
        meta.heads_ = {target: self.heads_[target]}
        return meta

    def save(self, path: Any) -> None:
        """Write a folder from which `load_meta` makes the same meta-classifier; see `weightprint.meta.persistence`."""
        from weightprint.meta.persistence import save_meta

        save_meta(self, path)

    def check_fitted(self) -> None:
        """Raise MetaError before a fit."""
        if not hasattr(self, "heads_"):
            raise MetaError(f"this {self.model} has not been fitted", hint="call fit first")

    def _trained(self) -> Trained:
        return Trained({run for head in self.heads_.values() for run in head.train_runs}, self.train_kin_)

    def _means(self, runs: Iterable[Readable], slices: int) -> npt.NDArray[np.float64]:
        self.check_fitted()
        runs = list(runs)
        readings, _ = self.read(runs, slices=slices)
        means = {reading.run.identity: reading.mean for reading in readings}
        width = len(self.classes_) or 1
        missing = np.full(width, np.nan)
        return np.array([means.get(run.identity, missing) for run in runs]).reshape(len(runs), width)


FIT_FACTS = ("epochs", "steps", "slices_seen", "train_loss", "chance_loss")
"""What an evaluation says of how the fit went, where the learner knows it."""


def _outputs(head: Head, tables: Sequence[Table]) -> list[npt.NDArray[np.float64]]:
    """Of each table; those of equal columns are asked at once."""
    if len({table.names for table in tables}) != 1:
        return [head.outputs(table) for table in tables]
    ends = np.cumsum([len(table.rows) for table in tables])[:-1]
    return np.split(head.outputs(Table(np.concatenate([t.rows for t in tables]), tables[0].names)), ends)


def _readable(
    members: Iterable[Member], excluded: Counter[str], read: Callable[[Member], Content]
) -> Iterator[tuple[Member, Content]]:
    """The runs that can be read and are finite, with what was read; others are counted, corrupt ones with a warning."""
    for member in members:
        try:
            content = read(member)
        except store.NotFinite:
            excluded["not_finite"] += 1
        except CorruptFile as error:
            report_corrupt(member.run, error, excluded)
        else:
            yield member, content
