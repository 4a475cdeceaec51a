"""Linear: a linear support vector machine on rows of named numbers (protocol: section 4)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri

from weightprint.errors import MetaError
from weightprint.features.numbers import Floats
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
        machines = _one_against_rest if examples.classes else _regression
        judge = _judge_classes if examples.classes else _judge_values
        strengths = REGULARIZATIONS if self.regularization is None else (float(self.regularization),)
        tried: dict[float, tuple[float, npt.NDArray]] = {}
        for strength in strengths:
            if tried and clock.past(0.7):
                break
            margins = np.zeros((len(rows), examples.classes if examples.classes > 2 else 1))
            for k in np.unique(fold):
                coefficients, intercepts = machines(rows, examples, strength, fold != k)
                margins[fold == k] = rows[fold == k] @ coefficients.T + intercepts
            tried[strength] = judge(margins, examples)
        best = min(tried, key=lambda strength: tried[strength][0])
        coefficients, intercepts = machines(rows, examples, best, np.ones(len(rows), bool))
        arrays = {"coefficients": coefficients, "intercepts": intercepts, "sigmoids": tried[best][1]}
        facts = {"regularization": best, "capped": len(tried) < len(strengths), "columns": list(names)}
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

    def outputs(self, rows: npt.NDArray[np.float32], names: tuple[str, ...]) -> Floats:
        read = Table(rows, names).aligned(self._names).astype(np.float64)
        margins = self._scaler.transform(read) @ self._arrays["coefficients"].T + self._arrays["intercepts"]
        sigmoids = self._arrays["sigmoids"]
        return _probabilities(margins, sigmoids) if len(sigmoids) else margins

    def files(self) -> dict[str, bytes]:
        from safetensors.numpy import save

        return {ARRAYS_FILE: save({name: np.ascontiguousarray(array) for name, array in self._arrays.items()})}


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
    def fit(cls, features: Floats) -> RankScaler:
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

    def transform(self, features: Floats) -> Floats:
        """[n, F] → [n, F + M]."""
        return np.nan_to_num((self._ranks(features) - self.centre) / self.scale, nan=0.0)

    def arrays(self) -> dict[str, npt.NDArray]:
        return {name: getattr(self, name) for name in self.NAMES}

    def _ranks(self, features: Floats) -> Floats:
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
    margins: Floats, positive: npt.NDArray[np.bool_], weights: npt.NDArray, runs: float, all_runs: float
) -> tuple[float, float]:
    """Slope and offset (a, b) of the probability 1 / (1 + exp(-(a·margin + b))).

    weights: of the rows; runs, all_runs: how many runs stand behind the positive rows and behind all

    Source: J. Platt, "Probabilistic outputs for support vector machines" (1999). His targets (n₊ + 1) / (n₊ + 2) and
    1 / (n₋ + 2) count runs, not rows: rows of one run are no independent evidence. The slope is not negative: margins
    that rank wrongly out of fold are no evidence.
    """
    from scipy.optimize import minimize

    goal = np.where(positive, (runs + 1) / (runs + 2), 1 / (all_runs - runs + 2))
    weights = weights / weights.sum()
    size = max(float(np.abs(margins).max()), 1e-12)
    x = np.column_stack([margins / size, np.ones_like(margins)])

    def loss(ab: npt.NDArray) -> tuple[float, npt.NDArray]:
        """The cross-entropy and its gradient."""
        z = x @ ab
        return float(weights @ (np.logaddexp(0, z) - goal * z)), x.T @ (weights * (expit(z) - goal))

    without_margin = np.array([0.0, logit(weights @ goal)])
    how = {"method": "L-BFGS-B", "jac": True, "options": {"ftol": 0.0, "gtol": 1e-9, "maxiter": 1000}}
    a, b = minimize(loss, without_margin, bounds=[(0, None), (None, None)], **how).x
    return float(a / size), float(b)


def _probabilities(margins: Floats, sigmoids: Floats) -> Floats:
    """Margins [n, C] (one column for two classes) → probabilities that add up to 1 [n, C]."""
    chances = expit(margins * sigmoids[:, 0] + sigmoids[:, 1])
    if chances.shape[1] == 1:
        return np.hstack([1 - chances, chances])
    chances = np.maximum(chances, 1e-300)
    return chances / chances.sum(axis=1, keepdims=True)


def _is_class(examples: Examples) -> npt.NDArray[np.bool_]:
    """Whether each row is of each class [n, C]; of two classes the second alone [n, 1]."""
    return examples.goals[:, None] == np.arange(examples.classes)[1 if examples.classes == 2 else 0 :]


def _judge_classes(margins: Floats, examples: Examples) -> tuple[float, Floats]:
    """The loss of margins out of fold, and the sigmoids [C, 2] that make them probabilities."""
    # As the weights make classes equally frequent, so are the runs that stand behind them: counts of their own
    # would tilt probabilities that rest on nothing towards the class with more training runs.
    runs, weights = float(examples.run.max() + 1), examples.balanced
    columns = zip(margins.T, _is_class(examples).T, strict=True)
    sigmoids = np.array([fit_sigmoid(m, positive, weights, runs / examples.classes, runs) for m, positive in columns])
    chances = _probabilities(margins, sigmoids)[np.arange(len(margins)), examples.goals]
    return float(-(weights * np.log(np.maximum(chances, 1e-12))).mean()), sigmoids


def _judge_values(values: Floats, examples: Examples) -> tuple[float, Floats]:
    """The distance of values out of fold from the truth; a regression has no sigmoids."""
    return float(np.abs(values[:, 0] - examples.goals).mean()), np.zeros((0, 2))


def _one_against_rest(
    rows: npt.NDArray, examples: Examples, strength: float, learn: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray, npt.NDArray]:
    """Coefficients [C, F] and intercepts [C] of a linear SVM per class, fitted to the rows of `learn`."""
    from sklearn.svm import LinearSVC

    is_class, weights = _is_class(examples)[learn], examples.balanced[learn]
    coefficients, intercepts = np.zeros((is_class.shape[1], rows.shape[1])), np.zeros(is_class.shape[1])
    for c, column in enumerate(is_class.T):
        if column.all() or not column.any():  # a fold may hold all runs of a rare class
            intercepts[c] = 1.0 if column.all() else -1.0
            continue
        svm = _quietly(LinearSVC(C=strength, dual=False, tol=1e-3, max_iter=200), rows[learn], column, weights)
        coefficients[c], intercepts[c] = svm.coef_[0], svm.intercept_[0]
    return coefficients, intercepts


def _regression(
    rows: npt.NDArray, examples: Examples, strength: float, learn: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray, npt.NDArray]:
    """Coefficients [1, F] and the intercept [1] of a linear regression with a margin, fitted to the rows of `learn`."""
    from sklearn.svm import LinearSVR

    svr = LinearSVR(C=strength, loss="squared_epsilon_insensitive", dual=False, tol=1e-3, max_iter=200)
    svr = _quietly(svr, rows[learn], examples.goals[learn], None)
    return svr.coef_[None], np.atleast_1d(svr.intercept_)


def _quietly(svm: Any, rows: npt.NDArray, goals: npt.NDArray, weights: npt.NDArray | None) -> Any:
    """Fit; a search that stops at its last step is near enough, since the folds judge what it found."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return svm.fit(rows, goals, sample_weight=weights)
