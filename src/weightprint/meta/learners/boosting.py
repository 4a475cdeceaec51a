"""Boosting: gradient-boosted decision trees (LightGBM), with the number of rounds chosen on runs held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.features.table import Table
from weightprint.meta.learners.base import Clock, Examples, check_limit, check_whole, deal_folds
from weightprint.seeds import seed_from_hash

FOLDS = 5
"""One fold of the runs is held out to choose the number of rounds."""

PATIENCE = 30
"""Rounds without a gain after which no further ones are tried."""

TREES_FILE = "trees.txt"

_Rows = tuple[npt.NDArray, ...]
"""Rows [n, F], what they are to give [n] and how much each counts [n]."""


@dataclass(frozen=True)
class Boosting:
    """Gradient boosting on rows of named numbers; a missing number goes where it lowers the loss.

    iterations:     at most; the number used is the best on a fifth of the training runs, then all are fitted with it
    learning_rate:  share of each tree's values that is added
    leaves:         at most, per tree
    column_share:   of the columns that each tree sees
    early_stopping: whether that number is looked for; otherwise all iterations are made
    max_seconds:    of processor time; None for no limit
    """

    iterations: int = 100
    learning_rate: float = 0.1
    leaves: int = 15
    column_share: float = 0.25
    early_stopping: bool = True
    max_seconds: float | None = None

    name: ClassVar[str] = "boosting"
    version: ClassVar[int] = 1
    redraws: ClassVar[bool] = False

    def check(self) -> None:
        check_whole("iterations", self.iterations, 1)
        check_whole("leaves", self.leaves, 2)
        check_limit(self.max_seconds)
        for name in ("learning_rate", "column_share"):
            if not 0 < getattr(self, name) <= 1:
                raise MetaError(f"{name} must be above 0 and at most 1, not {getattr(self, name)!r}")

    def fit(self, examples: Examples, *, seed: int) -> FittedTrees:
        clock = Clock(self.max_seconds)
        varies = _varies(examples.rows)
        names = tuple(name for name, kept in zip(examples.names, varies, strict=True) if kept)
        facts: dict[str, Any] = {"classes": examples.classes}
        if not names:  # classes are balanced
            constant = np.full(examples.classes, 1 / examples.classes) if facts["classes"] else examples.goals.mean()
            return FittedTrees(None, (), np.atleast_1d(constant), {**facts, "iterations": 0, "capped": False})
        data = np.asarray(examples.rows[:, varies], np.float64), examples.goals, examples.balanced
        params = self._params(examples, seed)
        strata = np.array(examples.strata)
        fold = deal_folds(examples.strata, FOLDS, np.random.default_rng(seed_from_hash("boosting", int(seed))))
        held = ((fold == 0) & (np.bincount(strata)[strata] > 1))[examples.run]
        count, capped = self.iterations, False
        if self.early_stopping and held.any():
            learn, rest = tuple(part[~held] for part in data), tuple(part[held] for part in data)
            # Half of the time is left for the fit on all runs, which takes a little longer per round.
            _, losses, capped = _train(params, count, learn, clock, share=0.4, held_out=rest)
            count = int(np.argmin(losses)) + 1
        booster, _, cut_short = _train(params, count, data, clock, share=1.0)
        iterations = booster.num_trees() // max(1, booster.num_model_per_iteration())
        return FittedTrees(booster, names, None, {**facts, "iterations": iterations, "capped": capped or cut_short})

    def restore(self, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> FittedTrees:
        names = tuple(facts["columns"])
        known = {name: value for name, value in facts.items() if name not in ("columns", "constant")}
        if facts["constant"] is not None:
            return FittedTrees(None, names, np.array(facts["constant"], np.float64), known)
        lightgbm = load_lightgbm()
        try:
            booster = lightgbm.Booster(model_str=files[TREES_FILE].decode())
        except lightgbm.basic.LightGBMError as error:
            raise ValueError(f"{TREES_FILE}: {error}") from error
        return FittedTrees(booster, names, None, known)

    def _params(self, examples: Examples, seed: int) -> dict[str, Any]:
        if examples.classes > 2:
            goal: dict[str, Any] = {"objective": "multiclass", "num_class": examples.classes}
        else:
            goal = {"objective": "binary" if examples.classes else "regression"}
        return {
            **goal,
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "feature_fraction": self.column_share,
            "min_data_in_leaf": min(20, max(1, len(examples.rows) // 20)),
            "lambda_l2": 1.0,
            "max_bin": 63,
            "num_threads": 1,  # parallel regions over so few rows cost more than they save
            "deterministic": True,
            "force_col_wise": True,
            "seed": seed_from_hash("boosting", int(seed)) % (1 << 31),
            "verbosity": -1,
        }


class FittedTrees:
    """Fitted trees.

    booster:  LightGBM's; None where no column told the runs apart
    names:    of the columns that it reads
    constant: what every row is given where there is no booster [C]
    """

    def __init__(
        self, booster: Any, names: tuple[str, ...], constant: npt.NDArray | None, facts: Mapping[str, Any]
    ) -> None:
        self.booster, self.names, self._constant = booster, names, constant
        self._facts = dict(facts)

    @property
    def facts(self) -> dict[str, Any]:
        constant = None if self._constant is None else self._constant.tolist()
        return {**self._facts, "columns": list(self.names), "constant": constant}

    def outputs(self, rows: npt.NDArray[np.float32], names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        if self._constant is not None:
            return np.tile(self._constant, (len(rows), 1))
        predicted = self.booster.predict(self._read(rows, names), num_threads=1)
        if predicted.ndim == 2:
            return predicted
        return np.column_stack([1 - predicted, predicted]) if self._facts["classes"] else predicted[:, None]

    def contributions(self, rows: npt.NDArray[np.float32], names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Exact Shapley values (TreeSHAP) of each column for each output's score before the softmax: float64
        [n, K, F + 1], K outputs (1 for two classes, of the second one), the last column what every row starts from.

        Source: S. Lundberg et al., Nature Machine Intelligence 2 (2020), 56–67.
        """
        if self.booster is None:
            return np.zeros((len(rows), 1, 1))
        values = self.booster.predict(self._read(rows, names), pred_contrib=True, num_threads=1)
        return values.reshape(len(rows), -1, len(self.names) + 1)

    def files(self) -> dict[str, bytes]:
        return {} if self.booster is None else {TREES_FILE: self.booster.model_to_string().encode()}

    def _read(self, rows: npt.NDArray[np.float32], names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        return Table(rows, names).aligned(self.names).astype(np.float64)


def _varies(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Columns with two values, or with a value and a gap: bool [F]."""
    missing = np.isnan(rows)
    low = np.where(missing, np.inf, rows).min(axis=0, initial=np.inf)
    high = np.where(missing, -np.inf, rows).max(axis=0, initial=-np.inf)
    return (low < high) | (missing.any(axis=0) & ~missing.all(axis=0))


def _train(
    params: dict[str, Any], count: int, examples: _Rows, clock: Clock, *, share: float, held_out: _Rows | None = None
) -> tuple[Any, list[float], bool]:
    """A booster of at most `count` rounds, its loss on rows held out after each, and whether the clock ended it.

    Where rows are held out, it ends after PATIENCE rounds without a gain there.
    """
    lightgbm = load_lightgbm()

    def dataset(part: _Rows, **settings: Any) -> Any:
        rows, goals, weights = part
        return lightgbm.Dataset(rows, goals, weight=weights, params=params, free_raw_data=False, **settings)

    training = dataset(examples)
    booster = lightgbm.Booster(params, training)
    if held_out is not None:
        booster.add_valid(dataset(held_out, reference=training), "held out")
    losses: list[float] = []
    for _ in range(count):
        finished = booster.update()
        if held_out is not None:
            losses.append(booster.eval_valid()[0][2])
            finished |= len(losses) - 1 - int(np.argmin(losses)) >= PATIENCE
        if finished:
            break
        if clock.past(share):
            return booster, losses, True
    return booster, losses, False


def load_lightgbm() -> Any:
    """The module; raises MetaError with the remedy where the system lacks the OpenMP library that it needs."""
    try:
        import lightgbm
    except OSError as error:
        raise MetaError(
            f"LightGBM cannot be loaded: {error}",
            hint="install the OpenMP library: apt install libgomp1, dnf install libgomp or brew install libomp",
        ) from error
    return lightgbm
