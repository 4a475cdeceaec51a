"""Linear: a linear support vector machine on rows of named numbers (protocol: section 4)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtri

from weightprint.errors import MetaError
from weightprint.features.table import Table
from weightprint.meta.learners.base import Clock, Examples, check_limit, deal_folds
from weightprint.seeds import seed_from_hash

FOLDS = 4
"""Groups of runs for out-of-fold margins."""

REGULARIZATIONS = (0.001, 0.01, 0.1)
"""Inverse strengths tried when none is given; at hundreds of features and few runs the best is far below 1."""

LANDMARKS = 200
"""Quantiles kept of each feature for its rank scale."""

ARRAYS_FILE = "linear.safetensors"


@dataclass(frozen=True)
class Linear:
    """Linear support vector machine.

    regularization: inverse strength C; None picks one of REGULARIZATIONS by margins out of fold, folded by run
    max_seconds:    of processor time, after which no further strength is tried; None for no limit

    One against the rest per class, with sigmoids (Platt) fitted to margins out of fold. Regression fits a linear
    support vector regression (squared loss) instead.
    """

    regularization: float | None = None
    max_seconds: float | None = None

    name: ClassVar[str] = "linear"
    version: ClassVar[int] = 1
    redraws: ClassVar[bool] = False

    def check(self) -> None:
        check_limit(self.max_seconds)
        if self.regularization is not None and not self.regularization > 0:
            raise MetaError(f"regularization must be above 0, not {self.regularization!r}")

    def fit(self, examples: Examples, *, seed: int) -> FittedLinear:
        clock = Clock(self.max_seconds)
        raw = np.asarray(examples.rows, np.float64)
        known: npt.NDArray[np.bool_] = np.logical_not(np.isnan(raw).all(axis=0))
        names = tuple(name for name, kept in zip(examples.names, known, strict=True) if kept)
        scaler = RankScaler.fit(raw[:, known])
        rows = scaler.transform(raw[:, known])
        generator = np.random.default_rng(seed_from_hash("linear", int(seed)))
        fold = deal_folds(examples.strata, min(FOLDS, int(examples.run[-1]) + 1), generator)[examples.run]
        fit = _fit_classes if examples.classes else _fit_values
        strengths = REGULARIZATIONS if self.regularization is None else (float(self.regularization),)
        arrays, strength, capped = fit(rows, examples, fold, strengths, clock)
        facts = {"regularization": strength, "capped": capped, "columns": list(names)}
        return FittedLinear({**arrays, **scaler.arrays()}, facts)

    def restore(self, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> FittedLinear:
        from safetensors.numpy import load

        return FittedLinear(load(files[ARRAYS_FILE]), dict(facts))


class FittedLinear:
    """A fitted machine: coefficients [C, F], intercepts [C] and sigmoids [C, 2] (none for a regression), and the scale
    of its columns. C is 1 for two classes."""

    def __init__(self, arrays: dict[str, npt.NDArray], facts: dict[str, Any]) -> None:
        self._arrays, self.facts = arrays, facts
        self._names = tuple(facts["columns"])
        self._scaler = RankScaler(**{name: arrays[name] for name in RankScaler.NAMES})

    def outputs(self, rows: npt.NDArray[np.float32], names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        read = Table(rows, names).aligned(self._names).astype(np.float64)
        margins = self._scaler.transform(read) @ self._arrays["coefficients"].T + self._arrays["intercepts"]
        sigmoids = self._arrays["sigmoids"]
        return _probabilities(margins, sigmoids) if len(sigmoids) else margins

    def files(self) -> dict[str, bytes]:
        from safetensors.numpy import save

        return {ARRAYS_FILE: save({name: np.ascontiguousarray(array) for name, array in self._arrays.items()})}


def _fit_classes(
    rows: npt.NDArray, examples: Examples, fold: npt.NDArray[np.intp], strengths: tuple[float, ...], clock: Clock
) -> tuple[dict[str, npt.NDArray], float, bool]:
    goals, weights = examples.goals, examples.balanced
    is_class = goals[:, None] == np.arange(examples.classes)
    if examples.classes == 2:
        is_class = is_class[:, 1:]
    # As the weights make classes equally frequent, so are the runs that stand behind them: counts of their own
    # would tilt probabilities that rest on nothing towards the class with more training runs.
    runs = float(examples.run.max() + 1)
    runs_per_class = runs / examples.classes
    best, chosen, sigmoids, tried = np.inf, strengths[0], np.zeros((0, 2)), 0
    for strength in strengths:
        if tried and clock.past(0.7):
            break
        tried += 1
        margins = np.zeros(is_class.shape)
        for k in np.unique(fold):
            learn, held = fold != k, fold == k
            coefficients, intercepts = _one_against_rest(rows[learn], is_class[learn], weights[learn], strength)
            margins[held] = rows[held] @ coefficients.T + intercepts
        found = np.array(
            [
                fit_sigmoid(margins[:, c], is_class[:, c], weights, runs_per_class, runs)
                for c in range(is_class.shape[1])
            ]
        )
        chances = _probabilities(margins, found)[np.arange(len(goals)), goals]
        loss = float(-(weights * np.log(np.maximum(chances, 1e-12))).mean())
        if loss < best:
            best, chosen, sigmoids = loss, strength, found
    coefficients, intercepts = _one_against_rest(rows, is_class, weights, chosen)
    arrays = {"coefficients": coefficients, "intercepts": intercepts, "sigmoids": sigmoids}
    return arrays, chosen, tried < len(strengths)


def _fit_values(
    rows: npt.NDArray, examples: Examples, fold: npt.NDArray[np.intp], strengths: tuple[float, ...], clock: Clock
) -> tuple[dict[str, npt.NDArray], float, bool]:
    goals = examples.goals
    best, chosen, tried = np.inf, strengths[0], 0
    for strength in strengths:
        if tried and clock.past(0.7):
            break
        tried += 1
        error = 0.0
        for k in np.unique(fold):
            coefficients, intercepts = _regress(rows[fold != k], goals[fold != k], strength)
            error += float(np.abs(rows[fold == k] @ coefficients[0] + intercepts[0] - goals[fold == k]).sum())
        if error < best:
            best, chosen = error, strength
    coefficients, intercepts = _regress(rows, goals, chosen)
    arrays = {"coefficients": coefficients, "intercepts": intercepts, "sigmoids": np.zeros((0, 2))}
    return arrays, chosen, tried < len(strengths)


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
