"""Training paths: whether runs of equal set-ups lie near one another, and a picture of where all of them go.

Distances are between statistics of tensors, each replaced by its rank among the snapshots that are compared: so that
neither large weights nor a few extreme runs decide. Nothing is learnt here: what can be told from neighbours lies
open, without a meta-classifier that was shown labels.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.evaluation.intervals import bootstrap_share
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cell
from weightprint.study.plans import Facts, Planned
from weightprint.study.table import FeatureTable
from weightprint.study.when import moments

NEAREST = 5
"""Neighbours looked at of each run."""

PERPLEXITY = 30
"""Of t-SNE: about how many snapshots count as near; scikit-learn's default."""

MOST_RUNS = 60
MOST_SNAPSHOTS = 20


@dataclass(frozen=True)
class Neighbours:
    """Whose neighbours have the same value.

    target:  a property of the runs
    moments: snapshots, from 1, each compared with those of the same moment of other runs
    nearest: neighbours of each run
    """

    target: str
    moments: tuple[int, ...]
    nearest: int = NEAREST


@dataclass(frozen=True)
class Embedding:
    """A picture of the snapshots in the plane, by t-SNE.

    runs, snapshots: at most so many, evenly spread
    perplexity:      of t-SNE
    seed:            of t-SNE
    nearest:         neighbours by which the picture is judged
    """

    runs: int = MOST_RUNS
    snapshots: int = MOST_SNAPSHOTS
    perplexity: float = PERPLEXITY
    seed: int = 0
    nearest: int = NEAREST


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """Neighbours of every property over the training, and one picture."""
    found = []
    for target in facts.targets:
        asked = Neighbours(target, moments(facts, budget))
        cell = Cell("neighbours", asdict(asked), 1.0)
        found.append(Planned("when", "neighbours", target, "nearest neighbours", "", asked.moments, cell))
    found.append(Planned("when", "embedding", "", "t-SNE", "", ("",), Cell("embedding", asdict(Embedding()), 10.0)))
    return found


def run_neighbours(table: FeatureTable, asked: Neighbours) -> dict[str, Any]:
    """{"scores": one per moment, "seconds"}, JSON-ready; {"reason": text} when it cannot be done.

    A score is the share of a run's nearest other runs that have its value, the mean over runs, with the bootstrap
    interval over runs; its chance is the share among all other runs.
    """
    began = time.monotonic()
    try:
        whole = _whole_runs(table)
        kept = [i for i in whole if table.runs[i]["properties"].get(asked.target) is not None]
        if len(kept) <= asked.nearest:
            raise MetaError(f"too few runs for {asked.nearest} neighbours: {len(kept)}")
        values = [table.runs[i]["properties"][asked.target] for i in kept]
        same = np.array([[a == b for b in values] for a in values], np.float64)
        np.fill_diagonal(same, 0)
        chance = float(same.sum() / (len(kept) * (len(kept) - 1)))
        scores = []
        for moment in asked.moments:
            near = _nearest(ranked(table.features[kept, moment - 1]), asked.nearest)
            shares = np.take_along_axis(same, near, axis=1).mean(axis=1)
            low, high = bootstrap_share(shares, np.ones(len(shares))) or (None, None)
            score = {"value": float(shares.mean()), "low": low, "high": high, "chance": chance}
            scores.append({**score, "measure": "accuracy", "n_runs": len(kept)})
    except MetaError as error:
        return {"reason": error.message, "seconds": time.monotonic() - began}
    return {"scores": scores, "seconds": time.monotonic() - began}


def run_embedding(table: FeatureTable, asked: Embedding) -> dict[str, Any]:
    """{"scores": [one], "runs": numbers, "properties", "paths": per run its snapshots [T, 2], "seconds"}, JSON-ready;
    {"reason": text} when it cannot be done. The picture's "trustworthiness" (scikit-learn's) is 1 where snapshots that
    lie near in it lie near in truth. The score is empty: nothing here has an interval."""
    from sklearn.manifold import TSNE, trustworthiness

    began = time.monotonic()
    whole = _whole_runs(table)
    kept = [whole[i] for i in _spread(len(whole), asked.runs)]
    steps = _spread(table.snapshots, asked.snapshots)
    try:
        rows = ranked(table.features[np.ix_(kept, steps)].reshape(len(kept) * len(steps), -1))
        if len(rows) <= 3 * asked.perplexity:
            raise MetaError(f"too few snapshots for t-SNE: {len(rows)}")
    except MetaError as error:
        return {"reason": error.message, "seconds": time.monotonic() - began}
    tsne = TSNE(2, perplexity=asked.perplexity, init="pca", random_state=asked.seed, n_jobs=1)
    points = tsne.fit_transform(rows.astype(np.float32))
    trust = float(trustworthiness(rows, points, n_neighbors=asked.nearest))
    return {
        "scores": [{}],
        "trustworthiness": trust,
        "runs": [table.runs[i]["number"] for i in kept],
        "properties": [table.runs[i]["properties"] for i in kept],
        "paths": points.reshape(len(kept), len(steps), 2).astype(float).round(3).tolist(),
        "seconds": time.monotonic() - began,
    }


def _whole_runs(table: FeatureTable) -> list[int]:
    """Places of the runs that have all snapshots."""
    return [i for i, run in enumerate(table.runs) if len(run["measurements"]) >= table.snapshots]


def _spread(count: int, most: int) -> list[int]:
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def ranked(features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each column [n, F] as ranks, centred and divided by n, ties the mean of theirs; columns with a gap left out.

    Raises MetaError when no column is left.
    """
    from scipy.stats import rankdata

    whole = features[:, np.isfinite(features).all(axis=0)]
    if not whole.shape[1]:
        raise MetaError("the networks have no tensor in common")
    return (rankdata(whole, axis=0) - (len(whole) + 1) / 2) / len(whole)


def _nearest(rows: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """The nearest other rows of each row, of equally near ones some at random: [n, count]."""
    products = rows @ rows.T
    squares = np.diag(products)
    distances = squares[:, None] + squares - 2 * products
    np.fill_diagonal(distances, np.inf)
    # Networks that begin alike are equally near but for rounding.
    distances = np.round(distances / (np.median(distances) or 1.0), 9)
    lots = np.random.default_rng(0).random(distances.shape)
    return np.lexsort((lots, distances), axis=1)[:, :count]
