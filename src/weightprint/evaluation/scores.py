"""Scores: what an evaluation says, computed from answers. The unit is the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from weightprint.evaluation import kendall
from weightprint.evaluation.answers import CLASSIFICATION, common_classes, one_kind, per_run
from weightprint.evaluation.intervals import Floats, Interval, bootstrap_each, bootstrap_share, finite, listed, wilson

MEASURES = ("r2", "mae", "kendall_tau", "tau_ceiling")
"""Of a regression."""


def scores(answers: pl.DataFrame) -> dict[str, Any]:
    """The part of an evaluation document that answers decide: of one model on one property, in one split or several.

    A run that several splits test counts once, see `weightprint.evaluation.answers.per_run`; Kendall's τ and its
    ceiling are means over splits, because an order is one fit's. Of a classification

    "classes", "class_counts": their test runs, "chance", "majority": the share of the most frequent of them,
    "per_run", and "per_slice" or "per_snapshot": accuracies with their intervals,
    "confusion": test runs by true class and class named, where a run that splits name differently is divided

    and of a regression "per_run": R², mean absolute error, Kendall's τ-b and its ceiling, each a value with its
    bootstrap interval, None where it is not defined. Raises MetaError as `one_kind` does.
    """
    if one_kind(answers) == CLASSIFICATION:
        return _of_classes(answers)
    return {"per_run": value_scores(answers)}


def scores_of_logarithms(answers: pl.DataFrame) -> dict[str, Any]:
    """What `scores` says per run of the decimal logarithms of a regression's values."""
    return scores(answers.with_columns(pl.col("truth").log10(), pl.col("answer").log10()))["per_run"]


def score(answers: pl.DataFrame) -> dict[str, Any]:
    """The one score of `scores` that stands for all, flat: "measure" ("accuracy", or "r2" of a regression), "value",
    "low", "high", "chance", "majority", "n_runs", and of a classification "classes" and "confusion"."""
    if one_kind(answers) == CLASSIFICATION:
        found = _of_classes(answers)
        per_run = found["per_run"]
        measure, value, interval = "accuracy", per_run["accuracy"], per_run["interval"]
    else:
        found, per_run = {}, value_scores(answers, ("r2",))
        measure, (value, interval) = "r2", per_run["r2"].values()
    low, high = interval or (None, None)
    known = {name: found.get(name) for name in ("chance", "majority", "classes", "confusion")}
    return {"measure": measure, "value": value, "low": low, "high": high, "n_runs": per_run["n"], **known}


def accuracy_interval(scores: Floats) -> Interval:
    """Of the mean of runs' scores in [0, 1]: Wilson's where each is wholly right or wrong or nothing can vary, else the
    bootstrap's."""
    return share_interval(scores, np.ones(len(scores)))


def share_interval(hits: Floats, totals: Floats) -> Interval:
    """Of Σ hits / Σ totals over runs [N]: as `accuracy_interval`."""
    shares = hits / totals
    if not ((totals == 1).all() and np.isin(hits, (0, 1)).all()):
        found = bootstrap_share(hits, totals)
        if found is not None and found[1] - found[0] > 1e-12:  # equal shares differ by rounding
            return found
    return wilson(float(shares.sum()), len(shares))


def r_squared(truth: Floats, square_error: Floats, counts: Floats) -> Floats:
    """R² of each resample [B]: one minus the mean squared error over the truth's variance; NaN where all truths drawn
    are equal.

    truth, square_error: of each run [N]; of a run tested repeatedly, the mean of its squared errors
    counts:              how often a resample draws each run [B, N]
    """
    centred = truth - truth.mean()
    total = counts.sum(axis=1)
    spread = counts @ centred**2 - (counts @ centred) ** 2 / total
    # A spread at the size of its own rounding is none: all truths drawn are equal.
    defined = spread > 1e-12 * max(float(np.sum(centred**2)), 1e-300)
    return np.where(defined, 1 - (counts @ square_error) / np.where(defined, spread, 1), np.nan)


def length_note(lengths: Sequence[int]) -> dict[str, Any]:
    """Whether weight vectors differ in length and, if so, what that may mean."""
    if len(set(lengths)) < 2:
        return {"lengths_differ": False}
    return {
        "lengths_differ": True,
        "note": f"weight vectors have {min(lengths)} to {max(lengths)} weights: part of the result may come from "
        "the architecture (which tensors there are, where a slice can lie) instead of the weights' values",
    }


def _of_classes(answers: pl.DataFrame) -> dict[str, Any]:
    classes, answers = common_classes(answers)
    runs = per_run(answers)
    n = len(runs)
    counts = np.bincount(runs["truth"].to_numpy().astype(int), minlength=len(classes))
    score = runs["score"].to_numpy()
    found: dict[str, Any] = {
        "classes": classes,
        "class_counts": counts.tolist(),
        "chance": 1 / len(classes),
        "majority": float(counts.max() / n),
        "per_run": {"accuracy": float(score.mean()), "interval": list(accuracy_interval(score)), "n": n},
    }
    if not runs["readings"].has_nulls():
        hits, readings = runs["hits"].to_numpy(), runs["readings"].to_numpy()
        found[f"per_{answers['reads'][0]}"] = {
            "accuracy": float(hits.sum() / readings.sum()),
            "interval": list(share_interval(hits, readings)),
            "n_runs": n,
        }
    return {**found, "confusion": _confusion(answers, len(classes))}


def _confusion(answers: pl.DataFrame, classes: int) -> list[list[float]]:
    """Test runs by truth and answer [C, C], whole numbers where no run is divided."""
    weighed = answers.with_columns(weight=1 / pl.len().over("run"))
    confusion = np.zeros((classes, classes))
    place = (weighed["truth"].to_numpy().astype(int), weighed["answer"].to_numpy().astype(int))
    np.add.at(confusion, place, weighed["weight"].to_numpy())
    nearest = np.rint(confusion)
    if np.allclose(confusion, nearest, rtol=0, atol=1e-9):
        return nearest.astype(int).tolist()
    return confusion.tolist()


def value_scores(answers: pl.DataFrame, wanted: Sequence[str] = MEASURES) -> dict[str, Any]:
    """Those measures of a regression that are wanted, each {"value", "interval"}, and "n", the test runs."""
    runs = per_run(answers)
    n = len(runs)
    truth, absolute, squared = (runs[name].to_numpy() for name in ("truth", "score", "square_error"))
    place = {run: i for i, run in enumerate(runs["run"])}
    orders = []
    for _, split in answers.group_by("split", maintain_order=True):
        at = np.array([place[run] for run in split["run"]])
        orders.append((at, split["truth"].to_numpy(), split["answer"].to_numpy()))
    once = np.ones((1, n))
    ordered = [o for o in orders if np.ptp(o[1]) > 0 and np.ptp(o[2]) > 0]
    several = [o for o in orders if len(o[0]) > 1]

    def tau(counts: Floats) -> Floats:
        taus = [kendall.tau(t, p, counts[:, at]) for at, t, p in ordered]
        return np.mean(taus, axis=0) if taus else np.full(len(counts), np.nan)

    def ceiling(counts: Floats) -> Floats:
        ceilings = [kendall.ceiling(t, counts[:, at]) for at, t, _ in several]
        return np.mean(ceilings, axis=0) if ceilings else np.full(len(counts), np.nan)

    measures = {
        "r2": lambda counts: r_squared(truth, squared, counts),
        "mae": lambda counts: counts @ absolute / n,
        "kendall_tau": tau,
        "tau_ceiling": ceiling,
    }
    measures = {name: measures[name] for name in wanted}
    intervals = bootstrap_each(measures, n)
    found = {name: {"value": finite(f(once)[0]), "interval": listed(intervals[name])} for name, f in measures.items()}
    return {"n": n, **found}
