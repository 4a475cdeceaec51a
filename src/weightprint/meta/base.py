"""The estimator contract: what every meta-classifier does the same way.

A model adds four hooks to `MetaClassifier`: `_take` (what it keeps of a run's weights), `_fit`, `_outputs`, and
`_state` / `_restore` for saving.
"""

from __future__ import annotations

import math
import operator
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from weightprint.errors import MetaError, did_you_mean
from weightprint.features.slices import draw_starts, spread_starts
from weightprint.meta import evaluation, rows, targets
from weightprint.meta.rows import Member
from weightprint.meta.targets import CLASSIFICATION, Target
from weightprint.seeds import seed_from_hash
from weightprint.zoo.layout import PARTS, Layout

WHOLE = "all"
"""The slice length that stands for the whole vector (global), and the part that stands for every weight."""


@dataclass(frozen=True)
class Training:
    """What `_fit` works on, run by run in the order of the runs' identities.

    members: the runs
    taken:   what `_take` kept of each
    goals:   per run a number for each snapshot [T]: class numbers (intp), or standardised values (float64)
    target:  what is predicted
    """

    members: list[Member]
    taken: list[Any]
    goals: list[npt.NDArray]
    target: Target

    @property
    def classification(self) -> bool:
        return self.target.kind == CLASSIFICATION

    @property
    def strata(self) -> list[int]:
        """A label of each run for stratified folds: its class, or 0."""
        return [int(goal[0]) if self.classification else 0 for goal in self.goals]


@dataclass(frozen=True)
class Reading:
    """What a meta-classifier reads in one run.

    run:       the zoo's Run
    snapshots: their numbers, from 1 [T]
    labels:    one per snapshot; empty where the run has none
    starts:    where the slices begin in the weights that are read, int64 [T, K]; None for whole vectors
    outputs:   class probabilities [T, K, C], or predicted values [T, K, 1]; K is 1 for whole vectors
    layout:    of the weights that are read: the run's own, or what `without` leaves of it
    target:    what is predicted
    """

    run: Any
    snapshots: tuple[int, ...]
    labels: tuple[Any, ...]
    starts: npt.NDArray[np.int64] | None
    outputs: npt.NDArray[np.float64]
    layout: Layout
    target: Target

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """The outputs' mean over snapshots and slices [C]: what the run as a whole is given."""
        return self.target.mean(self.outputs, axis=(0, 1))


class MetaClassifier(BaseEstimator):
    """Reads weights and predicts a property, in scikit-learn's manner: one row is one run of a zoo.

    target:       a property of the runs ("optimizer") or a measurement of their snapshots ("test_accuracy")
    part:         read only the conv, fc or other part; "all" reads every weight
    slice_length: consecutive weights read at a time, or "all" for whole vectors
    snapshots:    first and last snapshot read, from 1; None for all
    without:      kinds of tensors left out of what is read, names of `weightprint.meta.rows.WITHOUT`
    converged:    leave out runs whose final test accuracy is not above chance
    seed:         of every random choice; equal seeds give equal fits
    device:       where torch models compute; the others use the processor
    max_seconds:  ends a fit early; None for no limit

    After `fit`: `target_` (name, kind, classes), `classes_`, `train_runs_` (identities), `zoo_` (the zoo's
    identity), `excluded_` (runs left out, by reason), `class_counts_` (of each class the runs kept and removed),
    `lengths_` (of the training vectors), `seconds_`.
    Classes are balanced while fitting: probabilities are those for equally frequent classes.

    Raises MetaError for settings that cannot be.
    """

    name: ClassVar[str]
    """The model's name in `MODELS`, on the command line and in files."""
    reads_weights: ClassVar[bool] = True
    """Whether weights are read from the disk at all; baselines without get arrays [T, 0] in their place."""
    reads_slices: ClassVar[bool] = True
    reads_whole: ClassVar[bool] = True

    target_: Target
    classes_: tuple[Any, ...]
    train_runs_: tuple[str, ...]
    zoo_: str | None
    excluded_: dict[str, int]
    class_counts_: list[dict[str, Any]]
    lengths_: tuple[int, ...]
    seconds_: float

    def __init__(
        self,
        target: str,
        *,
        part: str = WHOLE,
        slice_length: int | str = 5000,
        snapshots: tuple[int, int] | None = (11, 20),
        without: tuple[str, ...] = (),
        converged: bool = True,
        seed: int = 0,
        device: str = "cpu",
        max_seconds: float | None = None,
    ) -> None:
        self.target = target
        self.part = part
        self.slice_length = slice_length
        self.snapshots = snapshots
        self.without = without
        self.converged = converged
        self.seed = seed
        self.device = device
        self.max_seconds = max_seconds

    # What a model adds.

    def _take(self, member: Member, weights: npt.NDArray[np.float32], generator: np.random.Generator) -> Any:
        """What a fit keeps of one run's weights [T, P]; `generator` is the run's own."""
        raise NotImplementedError

    def _fit(self, training: Training) -> None:
        raise NotImplementedError

    def _outputs(
        self, weights: npt.NDArray[np.float32], layout: Layout, starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        """Probabilities [T, K, C] or standardised values [T, K, 1] for slices that begin at `starts` [T, K]."""
        raise NotImplementedError

    def _answer(
        self, member: Member, weights: npt.NDArray[np.float32], starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        """`_outputs` for a run; a baseline that reads more than weights, or something else, does that here."""
        return self._outputs(weights, member.layout, starts)

    def _state(self) -> tuple[dict[str, npt.NDArray], dict[str, Any]]:
        """All that `_restore` needs: arrays by name, and facts that JSON can hold."""
        raise NotImplementedError

    def _restore(self, arrays: dict[str, npt.NDArray], facts: dict[str, Any]) -> None:
        raise NotImplementedError

    # The estimator.

    @property
    def local(self) -> bool:
        """Whether it reads slices; otherwise whole vectors."""
        return self.slice_length != WHOLE

    def fit(self, zoo: Any, y: None = None) -> MetaClassifier:
        """Learn from the runs of a zoo: give it the training part of a split. Labels come from the runs.

        Takes complete runs only; others, and those that cannot be read or have no label, are counted in
        `excluded_`. A corrupt run is named in a warning. Raises MetaError when nothing can be learnt.
        """
        self.check()
        began = time.monotonic()
        runs = sorted(zoo, key=lambda run: str(run.identity))
        measured = self._check_target(runs)
        members, excluded = rows.choose(runs, self._choice())
        members, taken = rows.gather(
            members,
            lambda member, weights: self._take(member, weights, self._generator("fit", member)),
            excluded,
            weights_needed=self.reads_weights,
        )
        if not members:
            raise MetaError(
                f"no run is left to fit on: {rows.describe(excluded)}",
                hint="--converged off keeps runs that did not learn" if excluded["not_converged"] else "",
            )
        self.target_ = Target.of(self.target, [m.labels for m in members], measured=measured)
        self.classes_ = self.target_.classes
        self.excluded_ = _counted(excluded)
        self.train_runs_ = tuple(member.run.identity for member in members)
        self.class_counts_ = rows.count_classes(runs, self.target_, self.train_runs_)
        self.zoo_ = getattr(zoo, "identity", None)
        self.lengths_ = tuple(sorted({member.layout.size for member in members}))
        self._began = began
        self._fit(Training(members, taken, self._goals(members), self.target_))
        self.seconds_ = time.monotonic() - began
        return self

    def read(
        self,
        zoo: Any,
        *,
        slices: int = 10,
        spread: bool = False,
        snapshots: tuple[int, int] | None = None,
        held_out: bool = False,
    ) -> tuple[list[Reading], dict[str, int]]:
        """What it reads in each run, snapshot by snapshot and slice by slice, and the runs left out, by reason.

        slices:    per snapshot; ignored for whole vectors
        spread:    evenly over the part instead of at random, the same places in every snapshot
        snapshots: other ones than it was fitted on
        held_out:  only runs that it was not fitted on, that are complete, converged (if so fitted) and labelled

        Random places depend on the seed and the run's identity alone. Raises MetaError before a fit.
        """
        self._check_fitted()
        if slices < 1:
            raise MetaError(f"slices must be at least 1, not {slices}")
        members, excluded = rows.choose(zoo, self._choice(held_out=held_out, snapshots=snapshots))

        def outputs(member: Member, weights: npt.NDArray[np.float32]) -> Reading:
            starts = self._starts(member, slices, spread=spread)
            found = self._answer(member, weights, starts)
            if self.target_.kind != CLASSIFICATION:
                found = self.target_.decode(found * self._scale[1] + self._scale[0])
            return Reading(member.run, member.snapshots, member.labels, starts, found, member.layout, self.target_)

        _, readings = rows.gather(members, outputs, excluded, weights_needed=self.reads_weights)
        return readings, _counted(excluded)

    def predict_proba(self, zoo: Any, *, slices: int = 10) -> npt.NDArray[np.float64]:
        """Class probabilities of every run, in the zoo's order: float64 [N, C]; columns follow `classes_`.

        The mean over the run's selected snapshots and `slices` random slices of each. NaN for a run that cannot be
        read: too short, without weights, corrupt. Raises MetaError when it regresses.
        """
        self._check_fitted()
        if self.target_.kind != CLASSIFICATION:
            raise MetaError(f"{self.target} is a number: there are no class probabilities", hint="use predict")
        return self._means(zoo, slices)

    def predict(self, zoo: Any, *, slices: int = 10) -> npt.NDArray:
        """One label per run, in the zoo's order: object [N] of classes, None where a run cannot be read.

        Regression: float64 [N], NaN where a run cannot be read. Raises MetaError before a fit.
        """
        means = self._means(zoo, slices)
        if self.target_.kind != CLASSIFICATION:
            return means[:, 0]
        labels = np.empty(len(means), object)
        for i, mean in enumerate(means):
            labels[i] = None if np.isnan(mean).any() else self.classes_[int(mean.argmax())]
        return labels

    def score(self, zoo: Any, y: None = None) -> float:
        """Accuracy per run, or R², over the runs of a zoo that it was not fitted on. Raises as `evaluate` does."""
        document = self.evaluate(zoo)
        found = document["per_run"].get("accuracy", document["per_run"].get("r2", {}))
        value = found["value"] if isinstance(found, dict) else found
        return math.nan if value is None else value

    def evaluate(self, zoo: Any, *, slices: int = 10) -> dict[str, Any]:
        """How well it does on the runs of a zoo that it was not fitted on: a JSON-ready document with intervals.

        Raises MetaError when no such run is left.
        """
        began = time.monotonic()
        known, excluded = self.read_unseen(zoo, slices=slices)
        document: dict[str, Any] = {
            "property": self.target,
            "model": self.name,
            "kind": self.target_.kind,
            "n_runs": len(known),
            "n_train_runs": len(self.train_runs_),
            "slices": slices if self.local else None,
            "snapshots": list(self.snapshots) if self.snapshots else None,
            "part": self.part,
            "slice_length": self.slice_length,
            "without": list(self.without),
            "converged": self.converged,
            "seed": self.seed,
            "fit_seconds": self.seconds_,
            "max_seconds": self.max_seconds,
            "capped": bool(getattr(self, "capped_", False)),
            "excluded": excluded,
            **evaluation.length_note([*self.lengths_, *(r.layout.size for r in known)]),
        }
        if self.target_.kind == CLASSIFICATION:
            truth = np.array([self.target_.encode(r.labels[0]) for r in known])
            seen = set(self.train_runs_)
            unseen = [run for run in zoo if run.identity not in seen]
            document["per_class"] = rows.count_classes(unseen, self.target_, [r.run.identity for r in known])
            document["train_per_class"] = self.class_counts_
            document["classes"] = list(self.classes_)
            document["class_counts"] = np.bincount(truth, minlength=len(self.classes_)).tolist()
            document.update(
                evaluation.classification_scores(
                    truth, [r.outputs for r in known], len(self.classes_), local=self.local
                )
            )
        else:
            values = np.array([np.mean(r.labels) for r in known])
            predicted = np.array([r.mean[0] for r in known])
            document["learnt_on"] = "logarithm" if self.target_.log else "value"
            document["per_run"] = evaluation.regression_scores(values, predicted)
            if self.target_.log:
                document["per_run_log10"] = evaluation.regression_scores(np.log10(values), np.log10(predicted))
        document["seconds"] = time.monotonic() - began
        return document

    def read_unseen(self, zoo: Any, **places: Any) -> tuple[list[Reading], dict[str, int]]:
        """`read` of the runs that it can be judged by: not fitted on, complete, labelled, of a class it knows.

        places: slices, spread and snapshots, as for `read`

        Raises MetaError when no such run is left.
        """
        readings, excluded = self.read(zoo, **places, held_out=True)
        known = [r for r in readings if self.target_.encode(r.labels[0]) is not None]
        if len(known) < len(readings):
            excluded["class_not_trained"] = len(readings) - len(known)
        if not known:
            seen = set(self.train_runs_)
            trained = sum(run.identity in seen for run in zoo)
            raise MetaError(
                f"no run is left to evaluate on: {trained} of {len(zoo)} were trained on, "
                f"{rows.describe(Counter(excluded))}",
                hint="evaluate on runs that were not trained on, such as the test part of a split",
            )
        return known, excluded

    def save(self, path: Any) -> None:
        """Write a folder from which `load_meta` makes the same meta-classifier; see `weightprint.meta.persistence`."""
        from weightprint.meta.persistence import save_meta

        save_meta(self, path)

    # Checks and small steps.

    def check(self) -> None:
        """Raise MetaError for settings that cannot be; `fit` and `build` call it."""
        if self.part != WHOLE and self.part not in PARTS:
            raise MetaError(f"unknown part {self.part!r}", hint=did_you_mean(self.part, (WHOLE, *PARTS)))
        if self.local:
            if not _is_whole(self.slice_length, 1):
                raise MetaError(f"slice_length must be a whole number from 1 up or 'all', not {self.slice_length!r}")
            if not self.reads_slices:
                raise MetaError(
                    f"{self.name} reads whole vectors, not slices of {self.slice_length} weights",
                    hint="--slice-length all",
                )
        elif not self.reads_whole:
            raise MetaError(f"{self.name} reads slices, not whole vectors", hint="--slice-length 5000")
        elif self.part != WHOLE:
            raise MetaError(
                f"slice length 'all' reads the whole vector, not its {self.part} part",
                hint="--part all, or a --slice-length in weights",
            )
        if self.snapshots is not None:
            pair = self.snapshots if isinstance(self.snapshots, (tuple, list)) else ()
            if len(pair) != 2 or not all(_is_whole(s, 1) for s in pair) or pair[0] > pair[1]:
                raise MetaError(
                    f"snapshots must be a first and a last number from 1 up, not {self.snapshots!r}",
                    hint="such as --snapshots 11-20",
                )
        rows.check_without(self.without)
        if not isinstance(self.converged, bool):
            raise MetaError(f"converged must be true or false, not {self.converged!r}")
        if not _is_whole(self.seed, 0):
            raise MetaError(f"seed must be a whole number from 0 up, not {self.seed!r}")
        limit = self.max_seconds
        if limit is not None and not (isinstance(limit, (int, float)) and 0 < limit < math.inf):
            raise MetaError(f"max_seconds must be a number above 0, not {limit!r}")

    def _check_target(self, runs: Sequence[Any]) -> bool:
        if not runs:
            raise MetaError("the zoo has no runs to fit on")
        return targets.check_name(self.target, runs)

    def _check_fitted(self) -> None:
        if not hasattr(self, "target_"):
            raise MetaError(f"this {self.name} has not been fitted", hint="call fit first")

    def _choice(self, *, held_out: bool | None = None, snapshots: tuple[int, int] | None = None) -> rows.Choice:
        """What to read: for a fit (None), of runs held out (True), of any run (False)."""
        return rows.Choice(
            target=self.target,
            part=self.part,
            slice_length=int(self.slice_length) if self.local else None,
            snapshots=snapshots or self.snapshots,
            without=tuple(self.without),
            converged=self.converged,
            skip=frozenset(self.train_runs_) if held_out else (),
            filtered=held_out is not False,
        )

    def _generator(self, purpose: str, member: Member) -> np.random.Generator:
        """A random stream that depends on the seed, a purpose and the run alone, whatever else is read."""
        return np.random.default_rng(seed_from_hash("meta", purpose, int(self.seed), member.run.identity))

    def _starts(self, member: Member, slices: int, *, spread: bool) -> npt.NDArray[np.int64] | None:
        """Where a run's slices begin: int64 [T, K], or None for whole vectors."""
        if not self.local:
            return None
        length, shape = int(self.slice_length), (len(member.snapshots), slices)
        if spread:
            return np.broadcast_to(spread_starts(member.layout, self.part, length, slices), shape)
        generator = self._generator("slices", member)
        return draw_starts(member.layout, self.part, length, math.prod(shape), generator=generator).reshape(shape)

    def _goals(self, members: Sequence[Member]) -> list[npt.NDArray]:
        """Per run the numbers to learn; sets the mean and deviation by which values are standardised."""
        self._scale = (0.0, 1.0)
        goals = [np.array([self.target_.encode(label) for label in m.labels]) for m in members]
        if self.target_.kind == CLASSIFICATION:
            return [goal.astype(np.intp) for goal in goals]
        values = np.concatenate(goals)
        self._scale = (float(values.mean()), float(values.std()) or 1.0)
        return [(goal - self._scale[0]) / self._scale[1] for goal in goals]

    def _means(self, zoo: Any, slices: int) -> npt.NDArray[np.float64]:
        self._check_fitted()
        runs = list(zoo)
        readings, _ = self.read(runs, slices=slices)
        means = {reading.run.identity: reading.mean for reading in readings}
        width = len(self.classes_) or 1
        missing = np.full(width, np.nan)
        return np.array([means.get(run.identity, missing) for run in runs]).reshape(len(runs), width)


def _is_whole(value: Any, low: int) -> bool:
    try:
        return not isinstance(value, bool) and operator.index(value) >= low
    except TypeError:
        return False


def _counted(excluded: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(excluded.items()) if count}
