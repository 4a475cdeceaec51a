"""Majority: the same answer for every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from weightprint.meta.learners.base import Examples, check_limit


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
