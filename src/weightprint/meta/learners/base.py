"""What every learner is given and gives, and the simplest one: the majority."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.zoo.layout import Layout


@dataclass(frozen=True)
class Examples:
    """What a learner fits; runs are in the order of their identities.

    rows:    float32 [n, F]; NaN where a network does not have what a column is about
    names:   of the columns [F]
    goals:   a number for each row [n]: class numbers (intp), or values with mean 0 and deviation 1 (float64)
    run:     which run a row belongs to, from 0: intp [n]
    classes: how many there are; 0 for a regression
    """

    rows: npt.NDArray[np.float32]
    names: tuple[str, ...]
    goals: npt.NDArray
    run: npt.NDArray[np.intp]
    classes: int

    @property
    def strata(self) -> list[int]:
        """A label of each run for stratified folds: its class, or 0."""
        firsts = np.unique(self.run, return_index=True)[1]
        return [int(self.goals[i]) if self.classes else 0 for i in firsts]

    @property
    def balanced(self) -> npt.NDArray[np.float64]:
        """A weight for each row by which every class weighs the same, 1 on average; 1 for a regression. float64 [n]."""
        from sklearn.utils.class_weight import compute_sample_weight

        return compute_sample_weight("balanced" if self.classes else None, self.goals)


@dataclass(frozen=True)
class Vectors:
    """The runs' weights, for a learner that draws slices of its own again and again.

    read:    of each run, its weights [T, P] float32
    layouts: of each run
    goals:   of each run a number per snapshot [T]
    classes: how many there are; 0 for a regression
    part:    where slices may lie
    length:  weights of a slice; None for whole vectors
    """

    read: Sequence[Callable[[], npt.NDArray[np.float32]]]
    layouts: Sequence[Layout]
    goals: Sequence[npt.NDArray]
    classes: int
    part: str
    length: int | None


class Fitted(Protocol):
    """What a fit makes.

    facts: how the fit went, JSON-ready; "capped" tells whether a limit ended it
    """

    @property
    def facts(self) -> Mapping[str, Any]: ...

    def outputs(self, rows: npt.NDArray[np.float32], names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Class probabilities [n, C], or standardised values [n, 1], of rows [n, F]."""
        ...

    def files(self) -> dict[str, bytes]:
        """All that `restore` needs besides `facts`, by file name."""
        ...


class Learner(Protocol):
    """A frozen dataclass of settings that can be fitted.

    name:    under which it is saved
    version: raised when an older file must not be read any more
    redraws: whether it is given `Vectors`, not `Examples`
    """

    name: str
    version: int
    redraws: bool

    def check(self) -> None:
        """Raise MetaError for settings that cannot be."""
        ...

    def fit(self, examples: Any, *, seed: int) -> Fitted:
        """Raises MetaError when nothing can be learnt from the examples."""
        ...

    def restore(self, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> Fitted:
        """What was fitted, from `files` and `facts`. Raises KeyError, ValueError or TypeError for what cannot be."""
        ...


class Clock:
    """Processor seconds of this process against a limit: a machine that stalls, or serves others, ends no fit early.

    limit:   None for none
    threads: that work at once; so many processor seconds pass in a second
    """

    def __init__(self, limit: float | None, *, threads: int = 1) -> None:
        self.limit, self._threads, self._began = limit, threads, time.process_time()

    @property
    def spent(self) -> float:
        return (time.process_time() - self._began) / self._threads

    def past(self, share: float = 1.0) -> bool:
        """Whether more than this share of the limit is spent."""
        return self.limit is not None and self.spent > share * self.limit


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


def is_whole(value: Any, low: int) -> bool:
    """Whether a value is a whole number from `low` up."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= low


def check_whole(name: str, value: Any, low: int) -> None:
    """Raise MetaError unless a setting is a whole number from `low` up."""
    if not is_whole(value, low):
        raise MetaError(f"{name} must be a whole number from {low} up, not {value!r}")


def check_limit(value: Any) -> None:
    """Raise MetaError unless a limit in seconds is None or a number above 0."""
    if value is not None and not (isinstance(value, (int, float)) and 0 < value < float("inf")):
        raise MetaError(f"max_seconds must be a number above 0, not {value!r}")


@dataclass(frozen=True)
class Majority:
    """How frequent each class was among the training runs, or their mean value.

    Differs from the other learners: classes are not balanced, since their frequencies are all that it has.

    max_seconds: never reached
    """

    max_seconds: float | None = None

    name: ClassVar[str] = "majority"
    version: ClassVar[int] = 1
    redraws: ClassVar[bool] = False

    def check(self) -> None:
        check_limit(self.max_seconds)

    def fit(self, examples: Examples, *, seed: int) -> FittedMajority:
        if examples.classes:
            counts = np.bincount(examples.strata, minlength=examples.classes)
            return FittedMajority(counts / counts.sum())
        means = np.bincount(examples.run, examples.goals) / np.bincount(examples.run)
        return FittedMajority(np.array([means.mean()]))

    def restore(self, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> FittedMajority:
        return FittedMajority(np.array(facts["answer"], np.float64))


class FittedMajority:
    """answer: float64 [C]."""

    def __init__(self, answer: npt.NDArray[np.float64]) -> None:
        self._answer = answer

    @property
    def facts(self) -> dict[str, Any]:
        return {"answer": self._answer.tolist(), "capped": False}

    def outputs(self, rows: npt.NDArray[np.float32], names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        return np.tile(self._answer, (len(rows), 1))

    def files(self) -> dict[str, bytes]:
        return {}
