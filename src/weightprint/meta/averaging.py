"""How accuracy grows with what is averaged: slices of a snapshot, snapshots of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from weightprint.errors import MetaError
from weightprint.meta.base import MetaClassifier, Reading
from weightprint.meta.evaluation import bootstrap_share, listed, regression_scores, wilson
from weightprint.meta.targets import CLASSIFICATION

COUNTS = (1, 2, 5, 10, 20, 50)
"""Slices per snapshot that are averaged."""


def by_slices(meta: MetaClassifier, zoo: Any, *, counts: Sequence[int] = COUNTS) -> dict[str, Any]:
    """How well a fitted model does when 1, 2, 5, … slices of each snapshot are averaged, on runs it was not fitted on.

    Returns a JSON-ready document whose "results" have for each count of slices (None for a model of whole vectors)

    "per_run":      all snapshots averaged: accuracy with its Wilson interval, or the measures of a regression
    "one_snapshot": each snapshot alone, counted over all of them; bootstrap over runs
    "last_snapshot": the last one alone: accuracy with its Wilson interval, or the measures of a regression

    The slices of a smaller count are among those of a larger one. Raises MetaError as `evaluate` does.
    """
    counts = sorted(set(counts)) if meta.local else [1]
    if not counts or counts[0] < 1:
        raise MetaError(f"counts of slices must be from 1 up, not {list(counts)}")
    readings, excluded = meta.read_unseen(zoo, slices=counts[-1])
    results = []
    for count in counts:
        shares = _shares if meta.target_.kind == CLASSIFICATION else _errors
        results.append({"slices": count if meta.local else None, **shares(readings, count)})
    return {
        "property": meta.target,
        "model": meta.name,
        "kind": meta.target_.kind,
        "n_runs": len(readings),
        "n_snapshots": sorted({len(reading.snapshots) for reading in readings}),
        "slice_length": meta.slice_length,
        "excluded": excluded,
        "results": results,
    }


def _shares(readings: Sequence[Reading], count: int) -> dict[str, Any]:
    truth = [int(reading.target.encode(reading.labels[0]) or 0) for reading in readings]
    of_snapshots = [reading.outputs[:, :count].mean(axis=1) for reading in readings]  # each [T, C]
    runs = sum(int(o.mean(axis=0).argmax() == t) for o, t in zip(of_snapshots, truth, strict=True))
    hits = np.array([(o.argmax(axis=1) == t).sum() for o, t in zip(of_snapshots, truth, strict=True)], float)
    totals = np.array([len(o) for o in of_snapshots], float)
    last = sum(int(o[-1].argmax() == t) for o, t in zip(of_snapshots, truth, strict=True))
    n = len(readings)
    return {
        "per_run": {"accuracy": runs / n, "interval": listed(wilson(runs, n)), "n": n},
        "one_snapshot": {
            "accuracy": float(hits.sum() / totals.sum()),
            "interval": listed(bootstrap_share(hits, totals)),
            "n_runs": n,
        },
        "last_snapshot": {"accuracy": last / n, "interval": listed(wilson(last, n)), "n": n},
    }


def _errors(readings: Sequence[Reading], count: int) -> dict[str, Any]:
    means = [reading.target.mean(reading.outputs[:, :count, 0], axis=1) for reading in readings]  # each [T]
    truth = [np.array(reading.labels, float) for reading in readings]
    errors = np.array([np.abs(m - t).sum() for m, t in zip(means, truth, strict=True)])
    totals = np.array([len(t) for t in truth], float)
    of_runs = np.array([reading.target.mean(m, axis=0) for reading, m in zip(readings, means, strict=True)])
    return {
        "per_run": regression_scores(np.array([t.mean() for t in truth]), of_runs),
        "one_snapshot": {
            "mae": {"value": float(errors.sum() / totals.sum()), "interval": listed(bootstrap_share(errors, totals))},
            "n_runs": len(readings),
        },
        "last_snapshot": regression_scores(np.array([t[-1] for t in truth]), np.array([m[-1] for m in means])),
    }
