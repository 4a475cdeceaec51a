"""Trees: gradient-boosted decision trees on the statistics of every tensor; whole vectors only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

from weightprint.errors import MetaError
from weightprint.features.statistics import align, tensor_statistics, union_names
from weightprint.meta.base import WHOLE, MetaClassifier, Training
from weightprint.meta.rows import Member, balanced_weights, deal_folds
from weightprint.meta.targets import Target
from weightprint.seeds import seed_from_hash
from weightprint.zoo.layout import Layout

FOLDS = 5
"""One fold of the runs is held out to choose the number of iterations."""

STEP = 10
"""Iterations between looks at the held-out runs and the clock."""

PATIENCE = 3
"""Looks without a gain after which no further iterations are tried."""

BINS = 64
"""Steps that a feature is cut into: quantiles of the training rows."""

Statistics = tuple[npt.NDArray[np.float64], tuple[str, ...]]
"""What `tensor_statistics` gives: features [T, F] and their names."""

THREADS = 1
"""Parallel regions over so few rows cost more than they save, and on a busy machine very much more."""


class Trees(MetaClassifier):
    """Histogram gradient boosting (scikit-learn) on the statistics of every tensor.

    Settings are those of `MetaClassifier`, and
    iterations:    at most; the number used is the best on a fifth of the training runs, then all are fitted with it
    early_stopping: whether that number is looked for; otherwise all iterations are made
    learning_rate: share of each tree's values that is added
    leaves:        at most, per tree

    A tensor that a network does not have is a missing value, which trees send their own way. `iterations_` is the
    number used; `capped_` tells whether `max_seconds` ended the search.
    """

    name = "trees"
    reads_slices = False

    def __init__(
        self,
        target: str,
        *,
        part: str = WHOLE,
        slice_length: int | str = WHOLE,
        snapshots: tuple[int, int] | None = (11, 20),
        without: tuple[str, ...] = (),
        converged: bool = True,
        seed: int = 0,
        device: str = "cpu",
        max_seconds: float | None = None,
        iterations: int = 100,
        learning_rate: float = 0.1,
        leaves: int = 15,
        early_stopping: bool = True,
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
        self.iterations = iterations
        self.learning_rate = learning_rate
        self.leaves = leaves
        self.early_stopping = early_stopping

    def check(self) -> None:
        super().check()
        if not isinstance(self.iterations, int) or self.iterations < 1:
            raise MetaError(f"iterations must be a whole number from 1 up, not {self.iterations!r}")
        if not 0 < self.learning_rate <= 1:
            raise MetaError(f"learning_rate must be above 0 and at most 1, not {self.learning_rate!r}")
        if not isinstance(self.leaves, int) or self.leaves < 2:
            raise MetaError(f"leaves must be a whole number from 2 up, not {self.leaves!r}")

    def _take(self, member: Member, weights: npt.NDArray[np.float32], generator: np.random.Generator) -> Any:
        return tensor_statistics(weights, member.layout)

    def fit_statistics(self, statistics: Sequence[Statistics], goals: Sequence[npt.NDArray], target: Target) -> Trees:
        """Fit on statistics at hand instead of a zoo: of each run those of its snapshots, as `tensor_statistics` gives
        them, and a number for each snapshot, as `Target.encode` makes it."""
        self.target_, self.classes_ = target, target.classes
        self._began = time.monotonic()
        self._scale = (0.0, 1.0)
        if not self.classes_:
            values = np.concatenate(goals).astype(np.float64)
            self._scale = (float(values.mean()), float(values.std()) or 1.0)
            goals = [(goal - self._scale[0]) / self._scale[1] for goal in goals]
        self._fit(Training([], list(statistics), list(goals), target))
        return self

    def read_statistics(self, statistics: Statistics) -> npt.NDArray[np.float64]:
        """Class probabilities [T, C], or values [T, 1], of one run's snapshots from their statistics."""
        features, names = statistics
        found = self.forest_.outputs(bins(align(features, names, self.feature_names_), self.edges_))
        return found if self.classes_ else self.target_.decode(found * self._scale[1] + self._scale[0])

    def _fit(self, training: Training) -> None:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        self.feature_names_ = union_names(names for _, names in training.taken)
        raw = np.concatenate([align(features, names, self.feature_names_) for features, names in training.taken])
        self.edges_ = bin_edges(raw)
        rows = bins(raw, self.edges_)
        repeats = [len(features) for features, _ in training.taken]
        goals = np.concatenate(training.goals)
        weights = balanced_weights(goals) if training.classification else np.ones(len(goals))
        generator = np.random.default_rng(seed_from_hash("meta", self.name, int(self.seed)))
        strata = np.array(training.strata)
        in_first_fold = deal_folds(training.strata, FOLDS, generator) == 0
        held = np.repeat(in_first_fold & (np.bincount(strata)[strata] > 1), repeats)
        self.capped_ = False
        with threadpool_limits(THREADS, user_api="openmp"):
            self.iterations_ = self._best_iterations(rows, goals, weights, held)
            boosting = self._boosting(self.iterations_, len(rows))
            self.forest_ = Forest.of(boosting.fit(rows, goals, sample_weight=weights))

    def _best_iterations(
        self, rows: npt.NDArray, goals: npt.NDArray, weights: npt.NDArray, held: npt.NDArray[np.bool_]
    ) -> int:
        """The number of iterations with the least loss on the runs held out."""
        if not self.early_stopping or not held.any():
            return self.iterations  # as asked, or too few runs to spare any
        learnt = rows[~held]
        learnt[:, np.isnan(learnt).all(axis=0)] = 0  # scikit-learn bins no column without a number
        began, allowed = time.monotonic(), self._seconds_left()
        boosting = self._boosting(0, int((~held).sum()))
        best, chosen, disappointments = np.inf, STEP, 0
        for count in range(min(STEP, self.iterations), self.iterations + 1, STEP):
            boosting.set_params(max_iter=count, warm_start=True).fit(learnt, goals[~held], sample_weight=weights[~held])
            loss = _loss(Forest.of(boosting).outputs(rows[held]), goals[held], weights[held])
            if loss < best:
                best, chosen, disappointments = loss, count, 0
            else:
                disappointments += 1
            # Half of the time is left for the fit on all runs, which takes a little longer per iteration.
            self.capped_ = time.monotonic() - began > 0.4 * allowed
            if self.capped_ or disappointments == PATIENCE:
                break
        return chosen

    def _seconds_left(self) -> float:
        if self.max_seconds is None:
            return np.inf
        return max(0.0, self.max_seconds - (time.monotonic() - self._began))

    def _boosting(self, iterations: int, rows: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        cls = HistGradientBoostingClassifier if self.classes_ else HistGradientBoostingRegressor
        return cls(
            max_iter=iterations,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=min(20, max(1, rows // 20)),
            l2_regularization=1.0,
            max_features=0.25,
            early_stopping=False,
            max_bins=BINS,
            categorical_features=None,
            random_state=seed_from_hash("boosting", int(self.seed)) % (1 << 32),
        )

    def _outputs(
        self, weights: npt.NDArray[np.float32], layout: Layout, starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        features, names = tensor_statistics(weights, layout)
        return self.forest_.outputs(bins(align(features, names, self.feature_names_), self.edges_))[:, None]

    def _state(self) -> tuple[dict[str, npt.NDArray], dict[str, Any]]:
        facts = {
            "feature_names": list(self.feature_names_),
            "iterations": self.iterations_,
            "capped": self.capped_,
            "classification": self.forest_.classification,
        }
        return {"edges": self.edges_, **self.forest_.arrays()}, facts

    def _restore(self, arrays: dict[str, npt.NDArray], facts: dict[str, Any]) -> None:
        self.feature_names_ = tuple(facts["feature_names"])
        self.edges_ = arrays["edges"]
        self.iterations_, self.capped_ = facts["iterations"], facts["capped"]
        self.forest_ = Forest(facts["classification"], **{name: arrays[name] for name in Forest.NAMES})


def bin_edges(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Inner quantiles of each feature, NaN aside: rows [n, F] with a number in every column → [BINS − 1, F].

    Cut here and not by scikit-learn, whose quantiles of weighted rows take minutes for hundreds of features. An edge
    is a value that occurs, so that it separates the rows it was found between.
    """
    levels = np.arange(1, BINS) / BINS
    columns = [np.quantile(f[~np.isnan(f)], levels, method="lower") for f in rows.T]
    return np.column_stack(columns)


def bins(rows: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The number of edges below each feature, NaN where there is none: [n, F] → float64 [n, F]."""
    numbers = np.column_stack([np.searchsorted(e, f) for f, e in zip(rows.T, edges.T, strict=True)])
    return np.where(np.isnan(rows), np.nan, numbers)


class Forest:
    """Fitted boosted trees as plain arrays; M trees, their nodes one after the other.

    feature, left, right, leaf, missing_left [nodes]: the feature asked, the node's children (counted from the start
                            of all), whether it is a leaf, whether a missing value goes left
    threshold, value [nodes]: a row goes left where feature ≤ threshold; what a leaf adds
    roots, column [M]:       each tree's first node, and the output column that it adds to
    baseline [K]:            what every row starts from; K columns, 1 for two classes and for regression
    """

    NAMES = ("feature", "threshold", "missing_left", "left", "right", "leaf", "value", "roots", "column", "baseline")

    def __init__(self, classification: bool, **arrays: npt.NDArray) -> None:
        self.classification = classification
        self.feature, self.threshold, self.missing_left = (arrays[n] for n in ("feature", "threshold", "missing_left"))
        self.left, self.right, self.leaf, self.value = (arrays[n] for n in ("left", "right", "leaf", "value"))
        self.roots, self.column, self.baseline = (arrays[n] for n in ("roots", "column", "baseline"))

    @classmethod
    def of(cls, boosting: Any) -> Forest:
        """The trees of a fitted scikit-learn HistGradientBoosting model without categories."""
        trees = [(k, tree.nodes) for iteration in boosting._predictors for k, tree in enumerate(iteration)]
        sizes = [len(nodes) for _, nodes in trees]
        nodes = np.concatenate([nodes for _, nodes in trees])
        roots = np.cumsum([0, *sizes[:-1]])
        shift = np.repeat(roots, sizes)
        return cls(
            hasattr(boosting, "classes_"),
            feature=nodes["feature_idx"].astype(np.int64),
            threshold=nodes["num_threshold"].astype(np.float64),
            missing_left=nodes["missing_go_to_left"].astype(bool),
            left=nodes["left"].astype(np.int64) + shift,
            right=nodes["right"].astype(np.int64) + shift,
            leaf=nodes["is_leaf"].astype(bool),
            value=nodes["value"].astype(np.float64),
            roots=roots.astype(np.int64),
            column=np.array([k for k, _ in trees], np.int64),
            baseline=np.asarray(boosting._baseline_prediction, np.float64).reshape(-1),
        )

    def arrays(self) -> dict[str, npt.NDArray]:
        return {name: getattr(self, name) for name in self.NAMES}

    def outputs(self, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Probabilities [n, C], or values [n, 1], of rows [n, F]."""
        node = np.broadcast_to(self.roots, (len(rows), len(self.roots))).copy()
        row = np.arange(len(rows))[:, None]
        while not (at_leaf := self.leaf[node]).all():
            x = rows[row, self.feature[node]]
            goes_left = np.where(np.isnan(x), self.missing_left[node], x <= self.threshold[node])
            node = np.where(at_leaf, node, np.where(goes_left, self.left[node], self.right[node]))
        values = self.value[node]
        columns = [values[:, self.column == k].sum(axis=1) for k in range(len(self.baseline))]
        raw = np.column_stack(columns) + self.baseline
        if not self.classification:
            return raw
        if raw.shape[1] == 1:
            return np.hstack([expit(-raw), expit(raw)])
        return softmax(raw, axis=1)


def _loss(outputs: npt.NDArray, goals: npt.NDArray, weights: npt.NDArray) -> float:
    """Weighted log loss of probabilities, or mean squared error of values."""
    if outputs.shape[1] == 1:
        return float(np.mean((outputs[:, 0] - goals) ** 2))
    chances = np.maximum(outputs[np.arange(len(goals)), goals], 1e-12)
    return float(-(weights * np.log(chances)).mean())
