"""Which runs a meta-classifier reads, and the reading of them. The unit is the run, never the snapshot."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import CorruptFile, MetaError
from weightprint.layouts import Layout
from weightprint.meta import targets
from weightprint.slices import start_count


@dataclass(frozen=True)
class Member:
    """A run that is read, with the snapshots that are used and a label for each.

    run:       the zoo's Run
    snapshots: their numbers, from 1
    labels:    one per snapshot; empty where the run has no label
    """

    run: Any
    snapshots: tuple[int, ...]
    labels: tuple[Any, ...]

    @property
    def layout(self) -> Layout:
        return self.run.layout

    def read(self) -> npt.NDArray[np.float32]:
        """The snapshots' weights from the disk: float32 [T, P]. Raises CorruptFile."""
        weights = self.run.weights
        return weights[np.array(self.snapshots) - 1]


@dataclass(frozen=True)
class Choice:
    """Which runs, snapshots and stretches count. See `MetaClassifier` for the fields' meaning; `slice_length` None
    is the whole vector, `skip` holds identities of runs to pass over, `filtered` False reads all that can be read."""

    target: str
    part: str
    slice_length: int | None
    snapshots: tuple[int, int] | None
    converged: bool
    skip: Collection[str] = ()
    filtered: bool = True


def choose(runs: Iterable[Any], choice: Choice) -> tuple[list[Member], Counter[str]]:
    """The runs that take part, in the zoo's order, and how many do not, by reason.

    Raises MetaError when no run has the snapshots or no vector is as long as a slice, unless `filtered` is off.
    """
    members: list[Member] = []
    excluded: Counter[str] = Counter()
    most_snapshots = longest = 0
    for run in runs:
        if run.identity in choice.skip:
            continue
        reason = _status_reason(run, choice)
        if reason:
            excluded[reason] += 1
            continue
        try:
            total = len(run.measurements) or len(run.weights)
            first, last = choice.snapshots or (1, total)
            snapshots = tuple(range(first, min(last, total) + 1))
            length = run.layout.length(choice.part)
            room = start_count(run.layout, choice.part, choice.slice_length or 1)
            labels = targets.labels_of(run, choice.target, snapshots)
        except CorruptFile as error:
            _report_corrupt(run, error, excluded)
            continue
        most_snapshots, longest = max(most_snapshots, total), max(longest, length)
        if not snapshots:
            excluded["no_such_snapshot"] += 1
        elif not room:
            excluded["too_short"] += 1
        elif not labels and choice.filtered:
            excluded["unlabelled"] += 1
        else:
            members.append(Member(run, snapshots, labels))
    if not choice.filtered:
        return members, excluded
    if most_snapshots and choice.snapshots and choice.snapshots[1] > most_snapshots:
        first, last = choice.snapshots
        raise MetaError(
            f"snapshots {first}-{last} were asked for, the runs have 1-{most_snapshots}",
            hint=f"--snapshots 1-{most_snapshots}",
        )
    if not members and excluded["too_short"]:
        where = "vector" if choice.part == "all" else f"{choice.part} part"
        raise MetaError(
            f"slices of {choice.slice_length} weights fit in no run: the longest {where} has {longest}",
            hint="choose a smaller --slice-length" if longest else "choose another --part",
        )
    return members, excluded


def _status_reason(run: Any, choice: Choice) -> str:
    """Why a run is left out for what the index says of it; empty when it is not."""
    if run.status == "unreadable":
        warnings.warn(f"run {run.number} cannot be read and is left out", stacklevel=4)
        return "corrupt"
    if run.status == "failed" or (choice.filtered and run.status != "complete"):
        return "not_complete"
    if choice.filtered and choice.converged and run.converged is False:
        return "not_converged"
    return ""


def gather(
    members: Sequence[Member], take: Callable[[Member, npt.NDArray[np.float32]], Any], excluded: Counter[str]
) -> tuple[list[Member], list[Any]]:
    """Read each run once and keep what `take` makes of its weights [T, P].

    A run that is corrupt (with a warning) or holds NaN or infinities is left out and counted in `excluded`.
    """
    kept: list[Member] = []
    taken: list[Any] = []
    for member in members:
        try:
            weights = member.read()
        except CorruptFile as error:
            _report_corrupt(member.run, error, excluded)
            continue
        if not np.isfinite(weights).all():
            excluded["not_finite"] += 1
            continue
        kept.append(member)
        taken.append(take(member, weights))
    return kept, taken


def _report_corrupt(run: Any, error: CorruptFile, excluded: Counter[str]) -> None:
    warnings.warn(f"run {run.number} ({run.identity}) is left out: {error}", stacklevel=5)
    excluded["corrupt"] += 1


def describe(excluded: Counter[str]) -> str:
    """The counts as one phrase: "3 not_converged, 1 too_short"."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(excluded.items()) if count) or "none left out"


def deal_folds(labels: Sequence[Any], folds: int, generator: np.random.Generator) -> npt.NDArray[np.intp]:
    """A fold's number for each run, stratified: each label's runs are shuffled and dealt out in turn. intp [N].

    Every label's deal starts where the one before stopped, so that folds differ by at most one run.
    """
    fold = np.zeros(len(labels), np.intp)
    first = 0
    for label in dict.fromkeys(labels):
        of_label = [i for i, other in enumerate(labels) if other == label]
        fold[generator.permutation(of_label)] = (first + np.arange(len(of_label))) % folds
        first += len(of_label)
    return fold


def balanced_weights(classes: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """A weight for each row by which every class weighs the same, 1 on average: n / (C · n_class). float64 [n]."""
    counts = np.bincount(classes)
    return len(classes) / (np.count_nonzero(counts) * counts[classes].astype(np.float64))
