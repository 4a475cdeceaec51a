"""Own: any estimator in scikit-learn's manner as a meta-classifier, on the statistics of weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from weightprint.errors import MetaError
from weightprint.features.slices import cut, draw_starts
from weightprint.features.statistics import FEATURES, align, statistics, tensor_statistics, union_names
from weightprint.meta.base import WHOLE, MetaClassifier, Training
from weightprint.meta.rows import Member
from weightprint.zoo.layout import Layout


class Own(MetaClassifier):
    """Fits an estimator of the user's, so that it is judged like ours.

    Settings are those of `MetaClassifier`, and
    estimator: has fit(X, y) and predict(X); of classes also predict_proba(X) and `classes_`, where it can. A copy of
               it is fitted
    draws:     random slices taken of each snapshot for a fit, when it reads slices

    X is float64 [n, F]. Whole vectors: a row per snapshot, the sixteen statistics of every tensor
    (`weightprint.features.statistics.tensor_statistics`; a tensor that a network does not have counts as the
    training rows' mean). Slices: a row per slice, its sixteen statistics. y holds class numbers, from 0 in the order
    of `classes_` (classes are not balanced), or values with mean 0 and deviation 1. It cannot be saved.
    """

    name = "own"

    def __init__(
        self,
        target: str,
        *,
        estimator: Any,
        part: str = WHOLE,
        slice_length: int | str = WHOLE,
        snapshots: tuple[int, int] | None = (11, 20),
        without: tuple[str, ...] = (),
        converged: bool = True,
        seed: int = 0,
        device: str = "cpu",
        max_seconds: float | None = None,
        draws: int = 10,
    ) -> None:
        super().__init__(
            target,
            part=part,
            slice_length=slice_length,
            snapshots=snapshots,
            without=without,
            converged=converged,
            seed=seed,
            device=device,
            max_seconds=max_seconds,
        )
        self.estimator = estimator
        self.draws = draws

    def check(self) -> None:
        super().check()
        methods = (getattr(self.estimator, name, None) for name in ("fit", "predict"))
        if isinstance(self.estimator, type) or not all(map(callable, methods)):
            raise MetaError(
                f"an own estimator is an object with fit(X, y) and predict(X), not {self.estimator!r}",
                hint="such as LogisticRegression()",
            )

    def _take(self, member: Member, weights: npt.NDArray[np.float32], generator: np.random.Generator) -> Any:
        if not self.local:
            return tensor_statistics(weights, member.layout)
        length, count = int(self.slice_length), self.draws
        starts = draw_starts(member.layout, self.part, length, len(weights) * count, generator=generator)
        return statistics(cut(weights, starts.reshape(-1, count), length).reshape(-1, length)), FEATURES

    def _fit(self, training: Training) -> None:
        self.feature_names_ = union_names(names for _, names in training.taken)
        rows = np.concatenate([align(features, names, self.feature_names_) for features, names in training.taken])
        self.means_ = np.nanmean(rows, axis=0)
        repeats = self.draws if self.local else 1
        goals = np.repeat(np.concatenate(training.goals), repeats)
        self.estimator_ = clone(self.estimator, safe=False)
        try:
            self.estimator_.fit(self._filled(rows), goals)
        except Exception as error:  # not our code: whatever it raises is the answer
            what = " ".join(str(error).split())
            raise MetaError(f"{type(self.estimator).__name__} could not be fitted: {what}") from error

    def _outputs(
        self, weights: npt.NDArray[np.float32], layout: Layout, starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        if starts is None:
            features, names = tensor_statistics(weights, layout)
            rows, shape = align(features, names, self.feature_names_), (len(weights), 1)
        else:
            length = int(self.slice_length)
            rows, shape = statistics(cut(weights, starts, length).reshape(-1, length)), starts.shape
        return self._answers(self._filled(rows)).reshape(*shape, -1)

    def _filled(self, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(np.isnan(rows), self.means_, rows)

    def _answers(self, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Probabilities [n, C], 0 and 1 of an estimator that has none; or values [n, 1]."""
        if not self.classes_:
            return np.asarray(self.estimator_.predict(rows), np.float64).reshape(-1, 1)
        found = np.zeros((len(rows), len(self.classes_)))
        if hasattr(self.estimator_, "predict_proba"):
            found[:, np.asarray(self.estimator_.classes_, np.intp)] = self.estimator_.predict_proba(rows)
        else:
            found[np.arange(len(rows)), np.asarray(self.estimator_.predict(rows), np.intp)] = 1
        return found

    def _state(self) -> tuple[dict[str, npt.NDArray], dict[str, Any]]:
        raise MetaError("a meta-classifier of an own estimator cannot be saved", hint="save the estimator itself")
