"""SVM: a linear support vector machine on statistics of weights (protocol: section 4).

Global, it reads the sixteen statistics of every tensor; local, those of one slice.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtri

from weightprint.errors import MetaError
from weightprint.features.slices import cut, draw_starts
from weightprint.features.statistics import FEATURES, align, statistics, tensor_statistics, union_names
from weightprint.meta.base import WHOLE, MetaClassifier, Training
from weightprint.meta.rows import Member, balanced_weights, deal_folds
from weightprint.seeds import seed_from_hash
from weightprint.zoo.layout import Layout

FOLDS = 4
"""Groups of runs for out-of-fold margins."""

REGULARIZATIONS = (0.001, 0.01, 0.1)
"""Inverse strengths tried when none is given; at hundreds of features and few runs the best is far below 1."""

LANDMARKS = 200
"""Quantiles kept of each feature for its rank scale."""


class SVM(MetaClassifier):
    """Linear SVM on statistics of the weights and of their finite differences.

    Settings are those of `MetaClassifier`, and
    draws:          random slices taken of each snapshot for a fit, when it reads slices
    regularization: inverse strength C; None picks one of REGULARIZATIONS by margins out of fold, folded by run

    One against the rest per class, with sigmoids (Platt) fitted to margins out of fold. `regularization_` is the
    strength used. Regression fits a linear support vector regression (squared loss) instead.
    """

    name = "svm"

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
        draws: int = 10,
        regularization: float | None = None,
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
        self.draws = draws
        self.regularization = regularization

    def check(self) -> None:
        super().check()
        if not isinstance(self.draws, int) or self.draws < 1:
            raise MetaError(f"draws must be a whole number from 1 up, not {self.draws!r}")
        if self.regularization is not None and not self.regularization > 0:
            raise MetaError(f"regularization must be above 0, not {self.regularization!r}")

    def _take(self, member: Member, weights: npt.NDArray[np.float32], generator: np.random.Generator) -> Any:
        if not self.local:
            return tensor_statistics(weights, member.layout)
        shape, length = (len(weights), self.draws), int(self.slice_length)
        starts = draw_starts(member.layout, self.part, length, shape[0] * shape[1], generator=generator)
        return statistics(cut(weights, starts.reshape(shape), length).reshape(-1, length)), FEATURES

    def _fit(self, training: Training) -> None:
        self.feature_names_ = union_names(names for _, names in training.taken)
        raw = np.concatenate([align(features, names, self.feature_names_) for features, names in training.taken])
        repeats = [len(features) for features, _ in training.taken]
        run = np.repeat(np.arange(len(repeats)), repeats)
        # A run's goal is repeated for the draws of each snapshot.
        goals = np.concatenate([np.repeat(g, n // len(g)) for g, n in zip(training.goals, repeats, strict=True)])
        self.scaler_ = RankScaler.fit(raw)
        rows = self.scaler_.transform(raw)
        generator = np.random.default_rng(seed_from_hash("meta", self.name, int(self.seed)))
        fold = deal_folds(training.strata, min(FOLDS, len(repeats)), generator)[run]
        if training.classification:
            self._fit_classes(rows, goals, fold, run)
        else:
            self._fit_values(rows, goals, fold)

    def _fit_classes(
        self, rows: npt.NDArray, goals: npt.NDArray[np.intp], fold: npt.NDArray[np.intp], run: npt.NDArray[np.intp]
    ) -> None:
        weights = balanced_weights(goals)
        is_class = goals[:, None] == np.arange(len(self.classes_))
        if len(self.classes_) == 2:
            is_class = is_class[:, 1:]
        # As the weights make classes equally frequent, so are the runs that stand behind them: counts of their own
        # would tilt probabilities that rest on nothing towards the class with more training runs.
        runs = float(run.max() + 1)
        runs_per_class = runs / len(self.classes_)
        best = np.inf
        for strength in self._strengths():
            margins = np.zeros(is_class.shape)
            for k in np.unique(fold):
                learn, held = fold != k, fold == k
                coefficients, intercepts = _one_against_rest(rows[learn], is_class[learn], weights[learn], strength)
                margins[held] = rows[held] @ coefficients.T + intercepts
            sigmoids = np.array(
                [
                    fit_sigmoid(margins[:, c], is_class[:, c], weights, runs_per_class, runs)
                    for c in range(is_class.shape[1])
                ]
            )
            chances = _probabilities(margins, sigmoids)[np.arange(len(goals)), goals]
            loss = float(-(weights * np.log(np.maximum(chances, 1e-12))).mean())
            if loss < best:
                best, self.regularization_, self.sigmoids_ = loss, strength, sigmoids
        self.coefficients_, self.intercepts_ = _one_against_rest(rows, is_class, weights, self.regularization_)

    def _fit_values(self, rows: npt.NDArray, goals: npt.NDArray, fold: npt.NDArray[np.intp]) -> None:
        self.sigmoids_ = np.zeros((0, 2))
        best = np.inf
        for strength in self._strengths():
            error = 0.0
            for k in np.unique(fold):
                coefficients, intercepts = _regress(rows[fold != k], goals[fold != k], strength)
                error += float(np.abs(rows[fold == k] @ coefficients[0] + intercepts[0] - goals[fold == k]).sum())
            if error < best:
                best, self.regularization_ = error, strength
        self.coefficients_, self.intercepts_ = _regress(rows, goals, self.regularization_)

    def _strengths(self) -> tuple[float, ...]:
        return REGULARIZATIONS if self.regularization is None else (float(self.regularization),)

    def _outputs(
        self, weights: npt.NDArray[np.float32], layout: Layout, starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        if starts is None:
            features, names = tensor_statistics(weights, layout)
            features = align(features, names, self.feature_names_)
        else:
            length = int(self.slice_length)
            features = statistics(cut(weights, starts, length).reshape(-1, length))
        margins = self.scaler_.transform(features) @ self.coefficients_.T + self.intercepts_
        outputs = _probabilities(margins, self.sigmoids_) if len(self.sigmoids_) else margins
        return outputs.reshape(len(weights), -1, outputs.shape[-1])

    def _state(self) -> tuple[dict[str, npt.NDArray], dict[str, Any]]:
        arrays = {
            "coefficients": self.coefficients_,
            "intercepts": self.intercepts_,
            "sigmoids": self.sigmoids_,
            **self.scaler_.arrays(),
        }
        return arrays, {"feature_names": list(self.feature_names_), "regularization": self.regularization_}

    def _restore(self, arrays: dict[str, npt.NDArray], facts: dict[str, Any]) -> None:
        self.coefficients_, self.intercepts_ = arrays["coefficients"], arrays["intercepts"]
        self.sigmoids_ = arrays["sigmoids"]
        self.scaler_ = RankScaler(**{name: arrays[name] for name in RankScaler.NAMES})
        self.feature_names_ = tuple(facts["feature_names"])
        self.regularization_ = facts["regularization"]


class RankScaler:
    """Brings features of any magnitude to one scale: rank among the training rows → normal quantile → mean 0,
    deviation 1.

    Statistics of weights span many orders of magnitude (a bias in front of batch norm is 1e-4 with one optimizer and
    1e-2 with another), so that only their order is robust. Values beyond the training rows' are as the outermost.
    A feature that a row does not have (NaN) becomes 0, and each group of features missing in the same training rows
    gets a column that is 1 where they are missing, standardised too.

    landmarks [Q, F]: quantiles of the training rows; centre, scale [F + M]; groups [M]: a feature of each group
    """

    NAMES = ("landmarks", "centre", "scale", "groups")

    def __init__(
        self, landmarks: npt.NDArray, centre: npt.NDArray, scale: npt.NDArray, groups: npt.NDArray[np.int64]
    ) -> None:
        self.landmarks, self.centre, self.scale, self.groups = landmarks, centre, scale, groups
        # The outermost landmarks stand at the middle of the first and last of as many equal shares.
        shares = (np.arange(len(landmarks)) + 0.5) / len(landmarks)
        self._normal = ndtri(shares)

    @classmethod
    def fit(cls, features: npt.NDArray[np.float64]) -> RankScaler:
        """From training rows [n, F]; every column has at least one number."""
        levels = np.linspace(0, 1, min(LANDMARKS, max(2, len(features))))
        missing = np.isnan(features)
        landmarks = np.column_stack([np.quantile(f[~m], levels) for f, m in zip(features.T, missing.T, strict=True)])
        patterns, groups = np.unique(missing, axis=1, return_index=True)
        groups = np.sort(groups[patterns.any(axis=0)]).astype(np.int64)
        width = features.shape[1] + len(groups)
        scaler = cls(landmarks, np.zeros(width), np.ones(width), groups)
        ranks = scaler._ranks(features)
        scaler.centre = np.nanmean(ranks, axis=0)
        deviation = np.nanstd(ranks, axis=0)
        scaler.scale = np.where(deviation > 1e-9, deviation, 1.0)
        return scaler

    def transform(self, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """[n, F] → [n, F + M]."""
        return np.nan_to_num((self._ranks(features) - self.centre) / self.scale, nan=0.0)

    def arrays(self) -> dict[str, npt.NDArray]:
        return {name: getattr(self, name) for name in self.NAMES}

    def _ranks(self, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        ranks = np.empty((len(features), features.shape[1] + len(self.groups)))
        for i, column in enumerate(features.T):
            marks = self.landmarks[:, i]
            # From both ends, so that a value shared by many rows is put in the middle of their ranks.
            up = np.interp(column, marks, self._normal)
            down = np.interp(-column, -marks[::-1], -self._normal[::-1])
            ranks[:, i] = (up - down) / 2
        ranks[:, features.shape[1] :] = np.isnan(features[:, self.groups])
        return ranks


def fit_sigmoid(
    margins: npt.NDArray[np.float64],
    positive: npt.NDArray[np.bool_],
    weights: npt.NDArray,
    runs: float,
    all_runs: float,
) -> tuple[float, float]:
    """Slope and offset (a, b) of the probability 1 / (1 + exp(-(a·margin + b))).

    weights: of the rows; runs, all_runs: how many runs stand behind the positive rows and behind all

    Source: J. Platt, "Probabilistic outputs for support vector machines" (1999), with Newton steps that are halved
    until they descend, after Lin, Lin and Weng, Machine Learning 68 (2007), 267–276. Platt's targets
    (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2) count runs, not rows: rows of one run are no independent evidence.
    The slope is not negative: margins that rank wrongly out of fold are no evidence.
    """
    high, low = (runs + 1) / (runs + 2), 1 / (all_runs - runs + 2)
    goal = np.where(positive, high, low)
    weights = weights / weights.sum()
    size = max(float(np.abs(margins).max()), 1e-12)
    x = np.column_stack([margins / size, np.ones_like(margins)])

    def loss(ab):
        z = x @ ab
        return float(weights @ (np.logaddexp(0, z) - goal * z))

    prior = float(weights @ goal)
    without_margin = np.array([0.0, np.log(prior / (1 - prior))])
    ab, now = without_margin, loss(without_margin)
    for _ in range(100):
        chance = expit(x @ ab)
        gradient = x.T @ (weights * (chance - goal))
        if np.abs(gradient).max() < 1e-9:
            break
        hessian = (x * (weights * chance * (1 - chance))[:, None]).T @ x + 1e-10 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        halvings = (ab - 0.5**k * step for k in range(30))
        ahead = next((trial for trial in halvings if loss(trial) < now), None)
        if ahead is None:
            break
        ab, now = ahead, loss(ahead)
    if ab[0] < 0:
        ab = without_margin
    return float(ab[0] / size), float(ab[1])


def _probabilities(margins: npt.NDArray[np.float64], sigmoids: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Margins [n, C] (one column for two classes) → probabilities that add up to 1 [n, C]."""
    chances = expit(margins * sigmoids[:, 0] + sigmoids[:, 1])
    if chances.shape[1] == 1:
        return np.hstack([1 - chances, chances])
    chances = np.maximum(chances, 1e-300)
    return chances / chances.sum(axis=1, keepdims=True)


def _one_against_rest(
    rows: npt.NDArray, is_class: npt.NDArray[np.bool_], weights: npt.NDArray, strength: float
) -> tuple[npt.NDArray, npt.NDArray]:
    """Coefficients [C, F] and intercepts [C] of a linear SVM per column of `is_class` [n, C]."""
    from sklearn.svm import LinearSVC

    coefficients, intercepts = np.zeros((is_class.shape[1], rows.shape[1])), np.zeros(is_class.shape[1])
    for c, column in enumerate(is_class.T):
        if column.all() or not column.any():  # a fold may hold all runs of a rare class
            intercepts[c] = 1.0 if column.all() else -1.0
            continue
        svm = _quietly(LinearSVC(C=strength, dual=False, tol=1e-3, max_iter=200), rows, column, weights)
        coefficients[c], intercepts[c] = svm.coef_[0], svm.intercept_[0]
    return coefficients, intercepts


def _regress(rows: npt.NDArray, goals: npt.NDArray, strength: float) -> tuple[npt.NDArray, npt.NDArray]:
    from sklearn.svm import LinearSVR

    svr = LinearSVR(C=strength, loss="squared_epsilon_insensitive", dual=False, tol=1e-3, max_iter=200)
    svr = _quietly(svr, rows, goals, None)
    return svr.coef_[None], np.atleast_1d(svr.intercept_)


def _quietly(svm: Any, rows: npt.NDArray, goals: npt.NDArray, weights: npt.NDArray | None) -> Any:
    """Fit; a search that stops at its last step is near enough, since the folds judge what it found."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return svm.fit(rows, goals, sample_weight=weights)
