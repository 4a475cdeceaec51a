"""Any estimator in scikit-learn's manner as a learner, so that it is judged like ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.features.table import Table
from weightprint.meta.learners.base import Examples


@dataclass(frozen=True)
class Estimator:
    """Fits a copy of an estimator of the user's.

    estimator: has fit(X, y) and predict(X); of classes also predict_proba(X) and `classes_`, where it can

    X is float64 [n, F], a missing number the training rows' mean. y holds class numbers, from 0 in the order of the
    meta-classifier's `classes_` (classes are not balanced), or values with mean 0 and deviation 1. Its fit cannot be
    capped, nor can it be saved.
    """

    estimator: Any

    name: ClassVar[str] = "estimator"
    version: ClassVar[int] = 1
    redraws: ClassVar[bool] = False

    def check(self) -> None:
        methods = (getattr(self.estimator, name, None) for name in ("fit", "predict"))
        if isinstance(self.estimator, type) or not all(map(callable, methods)):
            problem = f"an estimator is an object with fit(X, y) and predict(X), not {self.estimator!r}"
            raise MetaError(problem, hint="such as LogisticRegression()")

    def fit(self, examples: Examples, *, seed: int) -> FittedEstimator:
        from sklearn.base import clone

        rows = np.asarray(examples.rows, np.float64)
        known: npt.NDArray[np.bool_] = np.logical_not(np.isnan(rows).all(axis=0))
        rows, names = rows[:, known], tuple(n for n, kept in zip(examples.names, known, strict=True) if kept)
        means = np.nanmean(rows, axis=0)
        fitted = clone(self.estimator, safe=False)
        try:
            fitted.fit(np.where(np.isnan(rows), means, rows), examples.goals)
        except Exception as error:  # not our code: whatever it raises is the answer
            what = " ".join(str(error).split())
            raise MetaError(f"{type(self.estimator).__name__} could not be fitted: {what}") from error
        return FittedEstimator(fitted, names, means, examples.classes)

    def restore(self, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> FittedEstimator:
        raise ValueError("an estimator of the user's is never saved")


class FittedEstimator:
    """The fitted estimator, the columns that it reads and their means [F]."""

    def __init__(self, fitted: Any, names: tuple[str, ...], means: npt.NDArray[np.float64], classes: int) -> None:
        self.fitted, self._names, self._means, self._classes = fitted, names, means, classes
        self.facts: dict[str, Any] = {"capped": False}

    def outputs(self, rows: npt.NDArray[np.float32], names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Probabilities [n, C], 0 and 1 of an estimator that has none; or values [n, 1]."""
        read = Table(rows, names).aligned(self._names).astype(np.float64)
        read = np.where(np.isnan(read), self._means, read)
        if not self._classes:
            return np.asarray(self.fitted.predict(read), np.float64).reshape(-1, 1)
        probabilities = np.zeros((len(read), self._classes))
        if hasattr(self.fitted, "predict_proba"):
            probabilities[:, np.asarray(self.fitted.classes_, np.intp)] = self.fitted.predict_proba(read)
        else:
            probabilities[np.arange(len(read)), np.asarray(self.fitted.predict(read), np.intp)] = 1
        return probabilities

    def files(self) -> dict[str, bytes]:
        raise MetaError("a meta-classifier of an own estimator cannot be saved", hint="save the estimator itself")
