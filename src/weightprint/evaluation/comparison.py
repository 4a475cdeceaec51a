"""Paired comparison: which of several models does better on the same runs, and how sure that is.

Two models judged on the same runs share what makes these runs easy or hard, so that their difference is known better
than either accuracy. A run counts once, however many splits test it: see `weightprint.evaluation.answers.per_run`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from weightprint.errors import MetaError
from weightprint.evaluation.answers import CLASSIFICATION, one_kind, per_run
from weightprint.evaluation.intervals import bootstrap, finite, listed
from weightprint.evaluation.scores import accuracy_interval, r_squared

TEST = ["split", "run"]
"""What a test is: models are compared on tests that all of them took."""


@dataclass(frozen=True)
class _Runs:
    """What one model got right, all [N] in one order of runs; fields as in `weightprint.evaluation.answers.per_run`."""

    truth: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    square_error: npt.NDArray[np.float64]
    hits: npt.NDArray[np.float64]
    readings: npt.NDArray[np.float64]

    @classmethod
    def of(cls, answers: pl.DataFrame) -> _Runs:
        columns = per_run(answers).sort("run").select("truth", "score", "square_error", "hits", "readings")
        return cls(*columns.cast(pl.Float64).to_numpy().T)

    @property
    def n(self) -> int:
        return len(self.score)


def compare_answers(answers: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """Models by name, each with its answers in one split or several, against each other.

    Returns a JSON-ready document: "models", each with its score and interval, and "pairs", every model against every
    later one. "difference" is the first's accuracy (or mean absolute error) minus the second's, "interval" its paired
    95 % bootstrap interval over runs, "mcnemar" the exact test on the runs that only one named right (of a regression:
    that one came closer to), "per_reading" the same difference over single slices or snapshots. With several splits
    these are the means of each run's tests.

    Raises MetaError for models of different properties, or when no test is left that all took.
    """
    kind = one_kind(pl.concat(answers.values()) if answers else pl.DataFrame())
    classification = kind == CLASSIFICATION
    shared = None
    for answers_of_model in answers.values():
        taken = answers_of_model.select(TEST).unique()
        shared = taken if shared is None else shared.join(taken, on=TEST)
    if shared is None or not len(shared):
        raise MetaError(
            "no run is left that all models can be judged by", hint="compare models fitted on the same training runs"
        )
    common = {name: answers_of_model.join(shared, on=TEST, how="semi") for name, answers_of_model in answers.items()}
    found = {name: _Runs.of(answers_of_model) for name, answers_of_model in common.items()}
    first = next(iter(common.values()))
    tested = {run for answers_of_model in answers.values() for run in answers_of_model["run"]}
    return {
        "property": first["property"][0],
        "kind": kind,
        "measure": "accuracy" if classification else "mae",
        "n_runs": shared["run"].n_unique(),
        "n_splits": pl.concat([answers_of_model["split"] for answers_of_model in answers.values()]).n_unique(),
        "n_not_common": len(tested - set(shared["run"])),
        "models": [
            {"name": name, "reads": common[name]["reads"][0], **_score(answers_of_model, classification)}
            for name, answers_of_model in found.items()
        ],
        "pairs": [_pair(a, b, found[a], found[b], classification) for a, b in combinations(found, 2)],
    }


def difference(model: pl.DataFrame, reference: pl.DataFrame) -> dict[str, Any] | None:
    """A model's score minus the reference's on the runs and splits that judged both, with its paired interval.

    "measure" is the accuracy, or the mean absolute error of a regression; the rest is a pair of `compare_answers`.
    None when no run was judged by both.
    """
    if not len(model.join(reference, on=TEST, how="semi")):
        return None
    found = compare_answers({"model": model, "reference": reference})
    pair = {name: value for name, value in found["pairs"][0].items() if name not in ("a", "b")}
    return {"measure": found["measure"], "n_runs": found["n_runs"], **pair}


def independent_difference(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float]:
    """The value of a less that of b, and the ends of its 95 % interval when both stand on runs that are independent.

    a, b: a value and the ends of its own interval

    With d = a − b and intervals [l, u]: d − √((a − lₐ)² + (u_b − b)²) and d + √((uₐ − a)² + (b − l_b)²).
    Source: R. G. Newcombe, Statistics in Medicine 17 (1998), 873–890, method 10, for shares with Wilson's intervals;
    G. Y. Zou and A. Donner, Statistics in Medicine 27 (2008), 1693–1702, for any others, such as the bootstrap's.
    """
    (value_a, low_a, high_a), (value_b, low_b, high_b) = a, b
    difference = value_a - value_b
    down = math.hypot(max(0.0, value_a - low_a), max(0.0, high_b - value_b))
    up = math.hypot(max(0.0, high_a - value_a), max(0.0, value_b - low_b))
    return difference, difference - down, difference + up


def _score(runs: _Runs, classification: bool) -> dict[str, Any]:
    value = float(runs.score.mean())
    if classification:
        readings = {"per_reading": _readings(runs)}
        return {"value": value, "interval": list(accuracy_interval(runs.score)), **readings}
    n = runs.n
    r2 = finite(_r2(runs, np.ones((1, n)))[0])
    return {
        "value": value,
        "interval": listed(bootstrap(lambda counts: counts @ runs.score / n, n)),
        "r2": {"value": r2, "interval": listed(bootstrap(lambda counts: _r2(runs, counts), n))},
    }


def _pair(name_a: str, name_b: str, a: _Runs, b: _Runs, classification: bool) -> dict[str, Any]:
    n, gain = a.n, a.score - b.score
    document = {
        "a": name_a,
        "b": name_b,
        "difference": float(gain.mean()),
        "interval": listed(bootstrap(lambda counts: counts @ gain / n, n)),
        "mcnemar": _mcnemar(gain if classification else -gain),
    }
    if not classification:
        between = _r2(a, np.ones((1, n))) - _r2(b, np.ones((1, n)))
        interval = bootstrap(lambda counts: _r2(a, counts) - _r2(b, counts), n)
        return {**document, "r2": {"difference": finite(between[0]), "interval": listed(interval)}}
    known = _readings(a), _readings(b)
    if None in known:
        return {**document, "per_reading": None}
    readings = bootstrap(
        lambda counts: (counts @ a.hits) / (counts @ a.readings) - (counts @ b.hits) / (counts @ b.readings), n
    )
    return {**document, "per_reading": {"difference": known[0] - known[1], "interval": listed(readings)}}


def _readings(runs: _Runs) -> Any:
    """The accuracy of single readings; None where they are not known."""
    return finite(float(runs.hits.sum() / runs.readings.sum()))


def _r2(runs: _Runs, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return r_squared(runs.truth, runs.square_error, counts)


def _mcnemar(gains: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The exact two-sided test of as many runs with a gain as with a loss.

    Source: Q. McNemar, Psychometrika 12 (1947), 153–157. With several splits, the sign of each run's mean.
    """
    from scipy.stats import binomtest

    a_better, b_better = int((gains > 0).sum()), int((gains < 0).sum())
    p_value = float(binomtest(a_better, a_better + b_better).pvalue) if a_better + b_better else 1.0
    return {"a_better": a_better, "b_better": b_better, "p_value": p_value}
