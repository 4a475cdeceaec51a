"""Paired comparison: which of several models does better on the same runs, and how sure that is.

Two models judged on the same runs share what makes these runs easy or hard, so that their difference is known better
than either accuracy. A run counts once, however many splits test it: see `weightprint.evaluation.answers.per_run`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from weightprint.errors import MetaError
from weightprint.evaluation.answers import CLASSIFICATION, one_kind, per_run
from weightprint.evaluation.intervals import Floats, bootstrap, finite, listed
from weightprint.evaluation.scores import r_squared, scores, value_scores

TEST = ["split", "run"]
"""What a test is: models are compared on tests that all of them took."""

Columns = Mapping[str, Floats]
"""What one model got right: columns of `weightprint.evaluation.answers.per_run`, of all models in one order of runs."""


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
    tests = [of_model.select(TEST).unique() for of_model in answers.values()]
    shared = reduce(lambda one, other: one.join(other, on=TEST), tests)
    if not len(shared):
        raise MetaError(
            "no run is left that all models can be judged by", hint="compare models fitted on the same training runs"
        )
    common = {name: of_model.join(shared, on=TEST, how="semi") for name, of_model in answers.items()}
    columns = {name: _columns(of_model) for name, of_model in common.items()}
    every = pl.concat(of_model.select("property", *TEST) for of_model in answers.values())
    return {
        "property": every["property"][0],
        "kind": kind,
        "measure": "accuracy" if kind == CLASSIFICATION else "mae",
        "n_runs": shared["run"].n_unique(),
        "n_splits": every["split"].n_unique(),
        "n_not_common": every["run"].n_unique() - shared["run"].n_unique(),
        "models": [{"name": name, **_score(of_model, kind)} for name, of_model in common.items()],
        "pairs": [{"a": a, "b": b, **_pair(columns[a], columns[b], kind)} for a, b in combinations(columns, 2)],
    }


def difference(model: pl.DataFrame, reference: pl.DataFrame) -> dict[str, Any] | None:
    """A model's score minus the reference's on the runs and splits that judged both, with its paired interval.

    "measure" is the accuracy, or the mean absolute error of a regression; the rest is a pair of `compare_answers`.
    None when no run was judged by both.
    """
    kind = one_kind(pl.concat([model, reference]))
    ours, theirs = (a.join(b, on=TEST, how="semi") for a, b in ((model, reference), (reference, model)))
    if not len(ours):
        return None
    shared = {"measure": "accuracy" if kind == CLASSIFICATION else "mae", "n_runs": ours["run"].n_unique()}
    return {**shared, **_pair(_columns(ours), _columns(theirs), kind)}


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


def _columns(answers: pl.DataFrame) -> Columns:
    return {column.name: column.cast(pl.Float64).to_numpy() for column in per_run(answers).sort("run").drop("run")}


def _score(answers: pl.DataFrame, kind: str) -> dict[str, Any]:
    """What an evaluation says of one model on the tests that all took."""
    reads = answers["reads"][0]
    if kind != CLASSIFICATION:
        found = value_scores(answers, ("mae", "r2"))
        return {"reads": reads, **found["mae"], "r2": found["r2"]}
    found = scores(answers)
    known = {"value": found["per_run"]["accuracy"], "interval": found["per_run"]["interval"]}
    return {"reads": reads, **known, "per_reading": found.get(f"per_{reads}", {}).get("accuracy")}


def _pair(a: Columns, b: Columns, kind: str) -> dict[str, Any]:
    gain = a["score"] - b["score"]

    def gap(statistic: Callable[[Columns, Floats], Floats]) -> dict[str, Any]:
        """The difference of a statistic of the two, and its interval on the same resamples of runs."""
        once = np.ones((1, len(gain)))
        interval = bootstrap(lambda counts: statistic(a, counts) - statistic(b, counts), len(gain))
        return {"difference": finite((statistic(a, once) - statistic(b, once))[0]), "interval": listed(interval)}

    shared = {
        "difference": float(gain.mean()),
        "interval": listed(bootstrap(lambda counts: counts @ gain / len(gain), len(gain))),
        "mcnemar": _mcnemar(gain if kind == CLASSIFICATION else -gain),
    }
    if kind != CLASSIFICATION:
        return {**shared, "r2": gap(lambda runs, counts: r_squared(runs["truth"], runs["square_error"], counts))}
    known = not np.isnan([a["readings"], b["readings"]]).any()
    per_reading = gap(lambda runs, counts: (counts @ runs["hits"]) / (counts @ runs["readings"])) if known else None
    return {**shared, "per_reading": per_reading}


def _mcnemar(gains: Floats) -> dict[str, Any]:
    """The exact two-sided test of as many runs with a gain as with a loss.

    Source: Q. McNemar, Psychometrika 12 (1947), 153–157. With several splits, the sign of each run's mean.
    """
    from scipy.stats import binomtest

    a_better, b_better = int((gains > 0).sum()), int((gains < 0).sum())
    p_value = float(binomtest(a_better, a_better + b_better).pvalue) if a_better + b_better else 1.0
    return {"a_better": a_better, "b_better": b_better, "p_value": p_value}
