"""View: which weights of which runs are seen, and the choice of these runs. The unit is the run, never the snapshot."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import CorruptFile, MetaError, check_known
from weightprint.features.omission import check_without, reduced
from weightprint.features.slices import draw_starts, spread_starts, start_count
from weightprint.features.store import weights_of
from weightprint.meta import targets
from weightprint.meta.learners.base import check_whole, is_whole
from weightprint.seeds import seed_from_hash
from weightprint.zoo.layout import PARTS, Layout
from weightprint.zoo.readable import Readable

WHOLE = "all"
"""The slice length that stands for the whole vector (global), the part that stands for every weight, and all
snapshots."""

LATER_HALF = "later-half"
LAST = "last"

Snapshots = str | tuple[int, int]
"""LATER_HALF, LAST, WHOLE, or a first and a last number from 1."""


@dataclass(frozen=True)
class View:
    """Which weights are seen.

    part:         only the conv, fc or other part; "all" sees every weight
    slice_length: consecutive weights seen at a time, or "all" for whole vectors
    snapshots:    "later-half" of each run's, the "last", "all", or the first and the last number, from 1
    without:      kinds of tensors left out, names of `weightprint.features.omission.WITHOUT`
    converged:    leave out runs whose final test accuracy is not above chance
    draws:        random slices taken of each snapshot for a fit
    """

    part: str = WHOLE
    slice_length: int | str = WHOLE
    snapshots: Snapshots = LATER_HALF
    without: tuple[str, ...] = ()
    converged: bool = True
    draws: int = 10

    @property
    def length(self) -> int | None:
        """Weights of a slice; None for whole vectors."""
        return None if self.slice_length == WHOLE else int(self.slice_length)

    def check(self) -> None:
        """Raise MetaError for a view that cannot be."""
        check_known("part", self.part, (WHOLE, *PARTS))
        if self.slice_length != WHOLE:
            if not is_whole(self.slice_length, 1):
                raise MetaError(f"slice_length must be a whole number from 1 up or 'all', not {self.slice_length!r}")
        elif self.part != WHOLE:
            problem = f"slice length 'all' reads the whole vector, not its {self.part} part"
            raise MetaError(problem, hint="--part all, or a --slice-length in weights")
        if self.snapshots not in (LATER_HALF, LAST, WHOLE):
            pair = self.snapshots if isinstance(self.snapshots, (tuple, list)) else ()
            if len(pair) != 2 or not all(is_whole(s, 1) for s in pair) or pair[0] > pair[1]:
                raise MetaError(
                    f"snapshots must be 'later-half', 'last', 'all' or a first and a last number from 1 up, "
                    f"not {self.snapshots!r}",
                    hint="such as --snapshots 11-20",
                )
        check_without(self.without)
        if not isinstance(self.converged, bool):
            raise MetaError(f"converged must be true or false, not {self.converged!r}")
        check_whole("draws", self.draws, 1)

    def snapshots_of(self, total: int) -> tuple[int, ...]:
        """The numbers of the snapshots seen of a run that has `total`."""
        if isinstance(self.snapshots, str):
            first, last = {WHOLE: 1, LATER_HALF: total // 2 + 1, LAST: max(total, 1)}[self.snapshots], total
        else:
            first, last = self.snapshots
        return tuple(range(first, min(last, total) + 1))

    def to_json(self) -> dict[str, Any]:
        """The fields, as `from_json` takes them."""
        snapshots = self.snapshots if isinstance(self.snapshots, str) else list(self.snapshots)
        return {**vars(self), "snapshots": snapshots, "without": list(self.without)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> View:
        """The view that `to_json` wrote."""
        snapshots = fields["snapshots"]
        pair = snapshots if isinstance(snapshots, str) else tuple(snapshots)
        return cls(**{**fields, "snapshots": pair, "without": tuple(fields["without"])})


@dataclass(frozen=True)
class Member:
    """A run that is read.

    run:       the run
    snapshots: numbers of those that are read, from 1
    labels:    target → one label per snapshot; empty where the run has none
    view:      what is seen of it
    """

    run: Readable
    snapshots: tuple[int, ...]
    labels: Mapping[str, tuple[Any, ...]]
    view: View

    @property
    def layout(self) -> Layout:
        """Of the weights that are read."""
        return reduced(self.run.layout, self.view.without)

    def weights(self) -> npt.NDArray[np.float32]:
        """The snapshots' weights from the disk, without the tensors left out: float32 [T, P]. Raises CorruptFile."""
        return weights_of(self.run, self.snapshots, self.view.without)

    def starts(self, purpose: str | None, count: int, seed: int) -> npt.NDArray[np.int64] | None:
        """Where `count` slices of each snapshot begin: int64 [T, count]; None for whole vectors.

        purpose: of random places, which depend on it, the seed and the run alone, whatever else is read; None spreads
                 them evenly over the part, equal in every snapshot
        """
        if self.view.length is None:
            return None
        shape, room = (len(self.snapshots), count), (self.layout, self.view.part, self.view.length)
        if purpose is None:
            return np.broadcast_to(spread_starts(*room, count), shape)
        generator = np.random.default_rng(seed_from_hash("meta", purpose, int(seed), self.run.identity))
        return draw_starts(*room, math.prod(shape), generator=generator).reshape(shape)


@dataclass(frozen=True)
class Trained:
    """Runs that were trained on: identities, and what they share with their kin."""

    runs: Collection[str] = ()
    kin: Collection[str] = ()


def choose(
    runs: Iterable[Readable],
    view: View,
    names: Sequence[str],
    *,
    trained: Trained | None = None,
    filtered: bool = True,
) -> tuple[list[Member], Counter[str]]:
    """The runs that take part, in their order, and how many do not, by reason.

    names:    targets; a run has to have a label of one of them
    trained:  runs to pass over; their kin are passed over too, and counted under "kin"
    filtered: otherwise all that can be read is read, with labels or without

    Raises MetaError when no run has the snapshots or no vector is as long as a slice, unless `filtered` is off.
    """
    members: list[Member] = []
    excluded: Counter[str] = Counter()
    trained = trained or Trained()
    known, kin = frozenset(trained.runs), frozenset(trained.kin)
    most_snapshots = longest = 0
    for run in runs:
        if run.identity in known:
            continue
        related = bool(kin) and not kin.isdisjoint(run.kin)
        reason = "kin" if related else _status_reason(run, view, filtered)
        if reason:
            excluded[reason] += 1
            continue
        try:
            total = len(run.measurements) or len(run.weights)
            snapshots = view.snapshots_of(total)
            layout = reduced(run.layout, view.without)
            length = layout.length(view.part)
            room = start_count(layout, view.part, view.length or 1)
            labels = {name: targets.labels_of(run, name, snapshots) for name in names}
        except CorruptFile as error:
            report_corrupt(run, error, excluded)
            continue
        most_snapshots, longest = max(most_snapshots, total), max(longest, length)
        if not snapshots:
            excluded["no_such_snapshot"] += 1
        elif not room:
            excluded["too_short"] += 1
        elif filtered and not any(labels.values()):
            excluded["unlabelled"] += 1
        else:
            members.append(Member(run, snapshots, labels, view))
    if filtered:
        _refuse_impossible(view, members, excluded, most_snapshots, longest)
    return members, excluded


def choose_labelled(runs: Sequence[Readable], view: View, name: str) -> tuple[list[Member], targets.Target]:
    """The runs that a fit of one target takes, and this target. Raises MetaError where it cannot be learnt."""
    measured = targets.check_name(name, runs)
    members, _ = choose(runs, view, [name])
    return members, targets.Target.of(name, [member.labels[name] for member in members], measured=measured)


def _refuse_impossible(
    view: View, members: Sequence[Member], excluded: Counter[str], most_snapshots: int, longest: int
) -> None:
    if most_snapshots and not isinstance(view.snapshots, str) and view.snapshots[1] > most_snapshots:
        first, last = view.snapshots
        has = f"1-{most_snapshots}"
        raise MetaError(f"snapshots {first}-{last} were asked for, the runs have {has}", hint=f"--snapshots {has}")
    if not members and excluded["too_short"]:
        where = "vector" if view.part == WHOLE else f"{view.part} part"
        problem = f"slices of {view.slice_length} weights fit in no run: the longest {where} has {longest}"
        raise MetaError(problem, hint="choose a smaller --slice-length" if longest else "choose another --part")


def _status_reason(run: Readable, view: View, filtered: bool) -> str:
    """Why a run is left out for what is known without reading it; empty when it is not."""
    if run.status == "unreadable":
        warnings.warn(f"{run.name} cannot be read and is left out", stacklevel=4)
        return "corrupt"
    if run.status == "failed" or (filtered and run.status != "complete"):
        return "not_complete"
    if filtered and view.converged and run.converged is False:
        return "not_converged"
    return ""


def report_corrupt(run: Readable, error: CorruptFile, excluded: Counter[str]) -> None:
    """Count a run that cannot be read, and name it in a warning."""
    warnings.warn(f"{run.name} ({run.identity}) is left out: {error}", stacklevel=5)
    excluded["corrupt"] += 1


def describe(excluded: Mapping[str, int]) -> str:
    """The counts as one phrase: "3 not_converged, 1 too_short"."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(excluded.items()) if count) or "none left out"
