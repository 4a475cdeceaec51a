"""Which runs a meta-classifier reads, and the reading of them. The unit is the run, never the snapshot."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import CorruptFile, MetaError, did_you_mean
from weightprint.features.slices import start_count
from weightprint.meta import targets
from weightprint.zoo.layout import NORM_KINDS, Layout, Tensor

WITHOUT = ("moving_statistics", "biases_before_norm")
"""What a meta-classifier can be kept from reading, since it names a choice all too easily (protocol: section 6).

moving_statistics:  moving mean and moving variance of every batch norm
biases_before_norm: biases of convolutions that are directly followed by batch norm. The norm takes any constant off
                    again, so that their gradient is rounding, and their size alone tells the optimizer's rule. Biases
                    of fully connected layers stay: an activation lies between them and their norm.
"""


def check_without(names: Any) -> None:
    """Raise MetaError unless `names` is a sequence of names of WITHOUT, each once."""
    if not isinstance(names, (tuple, list)):
        raise MetaError(f"without must be a sequence of names, not {names!r}", hint=f"such as ({WITHOUT[0]!r},)")
    for name in names:
        if name not in WITHOUT:
            raise MetaError(f"without has an unknown name {name!r}", hint=did_you_mean(name, WITHOUT))
    if len(set(names)) < len(names):
        raise MetaError(f"without names something twice: {', '.join(names)}")


@lru_cache(maxsize=1024)
def reduced(layout: Layout, without: tuple[str, ...]) -> Layout:
    """The layout of what is left of a weight vector without the named tensors, moved together.

    A tensor tied to one that is left out is tied to none.
    """
    if not without:
        return layout
    tensors: list[Tensor] = []
    kept = _kept(layout, without)
    names = {tensor.name for tensor in kept}
    for tensor in kept:
        tied_to = tensor.tied_to if tensor.tied_to in names else None
        tensors.append(replace(tensor, offset=tensors[-1].stop if tensors else 0, tied_to=tied_to))
    return Layout(tensors)


@lru_cache(maxsize=1024)
def places(layout: Layout, without: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Where in the whole vector each weight of the reduced one is: int64 [P]."""
    found = [np.arange(tensor.offset, tensor.stop) for tensor in _kept(layout, without)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _kept(layout: Layout, without: tuple[str, ...]) -> list[Tensor]:
    left_out: set[str] = set()
    if "moving_statistics" in without:
        left_out.update(tensor.name for tensor in layout if tensor.kind in ("moving_mean", "moving_variance"))
    if "biases_before_norm" in without:
        left_out.update(
            tensor.name
            for tensor, following in pairwise(layout)
            if tensor.kind == "bias" and tensor.part == "conv" and following.kind in NORM_KINDS
        )
    return [tensor for tensor in layout if tensor.name not in left_out]


@dataclass(frozen=True)
class Member:
    """A run that is read, with the snapshots that are used and a label for each.

    run:       the zoo's Run
    snapshots: their numbers, from 1
    labels:    one per snapshot; empty where the run has no label
    without:   kinds of tensors that are left out, names of WITHOUT
    """

    run: Any
    snapshots: tuple[int, ...]
    labels: tuple[Any, ...]
    without: tuple[str, ...] = ()

    @property
    def layout(self) -> Layout:
        """Of the weights that are read."""
        return reduced(self.run.layout, self.without)

    def read(self) -> npt.NDArray[np.float32]:
        """The snapshots' weights from the disk, without the tensors left out: float32 [T, P]. Raises CorruptFile."""
        weights = self.run.weights[np.array(self.snapshots) - 1]
        return np.take(weights, places(self.run.layout, self.without), axis=1) if self.without else weights

    def no_weights(self) -> npt.NDArray[np.float32]:
        """What stands for the weights where they are not read: float32 [T, 0]."""
        return np.zeros((len(self.snapshots), 0), np.float32)


@dataclass(frozen=True)
class Choice:
    """Which runs, snapshots and stretches count. See `MetaClassifier` for the fields' meaning; `slice_length` None
    is the whole vector, `skip` holds identities of runs to pass over, `filtered` False reads all that can be read."""

    target: str
    part: str
    slice_length: int | None
    snapshots: tuple[int, int] | None
    converged: bool
    without: tuple[str, ...] = ()
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
            layout = reduced(run.layout, choice.without)
            length = layout.length(choice.part)
            room = start_count(layout, choice.part, choice.slice_length or 1)
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
            members.append(Member(run, snapshots, labels, choice.without))
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
    members: Sequence[Member],
    take: Callable[[Member, npt.NDArray[np.float32]], Any],
    excluded: Counter[str],
    *,
    weights_needed: bool = True,
) -> tuple[list[Member], list[Any]]:
    """Read each run once and keep what `take` makes of its weights [T, P], or of [T, 0] when they are not needed.

    A run that is corrupt (with a warning) or holds NaN or infinities is left out and counted in `excluded`.
    """
    kept: list[Member] = []
    taken: list[Any] = []
    for member in members:
        try:
            weights = member.read() if weights_needed else member.no_weights()
        except CorruptFile as error:
            _report_corrupt(member.run, error, excluded)
            continue
        if not np.isfinite(weights).all():
            excluded["not_finite"] += 1
            continue
        kept.append(member)
        taken.append(take(member, weights))
    return kept, taken


def count_classes(runs: Iterable[Any], target: targets.Target, kept: Collection[str]) -> list[dict[str, Any]]:
    """Of each class how many runs were kept and removed, and how many of both did not converge.

    A filter removes classes selectively: a class of which most is removed is another class than it was. Empty for a
    regression. kept: identities
    """
    kept = set(kept)
    counts = {name: {"class": name, "kept": 0, "removed": 0, "not_converged": 0} for name in target.classes}
    for run in runs:
        try:
            label = run.properties.get(target.name)
        except CorruptFile:
            continue  # counted where the runs are chosen
        number = target.encode(label) if target.classes else None
        if number is not None:
            count = counts[target.classes[int(number)]]
            count["kept" if run.identity in kept else "removed"] += 1
            count["not_converged"] += run.converged is False
    return list(counts.values())


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
