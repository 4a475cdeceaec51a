"""Training paths: whether runs of equal set-ups lie near one another, and a picture of where all of them go.

Distances are between statistics of tensors, each replaced by its rank among the snapshots that are compared: so that
neither large weights nor a few extreme runs decide. Nothing is learnt here: what can be told from neighbours lies
open, without a meta-classifier that was shown labels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.evaluation.intervals import bootstrap_pairs
from weightprint.features.table import features_named
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cell, explained
from weightprint.study.maps import MOST_RUNS, MOST_SNAPSHOTS, spread
from weightprint.study.plans import Facts, Planned, moments_of
from weightprint.study.table import FeatureTable, Read

STATISTICS: Read = ("statistics", ())
"""What is compared."""

NEAREST = 5
"""Neighbours looked at of each run."""

PERPLEXITY = 30
"""Of t-SNE: about how many snapshots count as near; scikit-learn's default."""


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
    features, _ = STATISTICS
    versions = {f"features {features}": features_named(features).version}
    moments = moments_of(facts.snapshots, budget.snapshots)
    planned = []
    for target in facts.targets:
        settings = Neighbours(target, moments)
        cell = Cell("neighbours", asdict(settings), 1.0, versions, settings)
        planned.append(Planned("when", "neighbours", target, "nearest neighbours", "", moments, cell))
    cell = Cell("embedding", asdict(Embedding()), 10.0, versions, Embedding())
    return [*planned, Planned("when", "embedding", "", "t-SNE", "", ("",), cell)]


@explained
def run_neighbours(table: FeatureTable, settings: Neighbours) -> dict[str, Any]:
    """{"scores": one per moment, "seconds"}, JSON-ready; {"reason": text} when it cannot be done.

    A score is the share of a run's nearest other runs that have its value, the mean over the runs that have the
    snapshot; its chance is the share among all other runs. A run takes part in many pairs of neighbours, its own and
    others': the interval draws runs, and with them their pairs. "left_out" counts the runs without the snapshot.
    """
    scores: list[dict[str, Any]] = []
    for moment in settings.moments:
        labelled = [i for i, run in enumerate(table.runs) if run.properties.get(settings.target) is not None]
        kept = [i for i in labelled if table.runs[i].snapshots >= moment]
        if len(kept) <= settings.nearest:
            scores.append({"reason": f"too few runs for {settings.nearest} neighbours: {len(kept)}"})
            continue
        values = [table.runs[i].properties[settings.target] for i in kept]
        same = np.array([[a == b for b in values] for a in values], np.float64)
        np.fill_diagonal(same, 0)
        near = _nearest(ranked(table.features[kept, moment - 1]), settings.nearest)
        hits = np.take_along_axis(same, near, axis=1).ravel()
        of = np.repeat(np.arange(len(kept)), settings.nearest)
        low, high = bootstrap_pairs(hits, of.tolist(), near.ravel().tolist()) or (None, None)
        score = {
            "measure": "accuracy",
            "value": float(hits.mean()),
            "low": low,
            "high": high,
            "chance": float(same.sum() / (len(kept) * (len(kept) - 1))),
            "n_runs": len(kept),
        }
        scores.append({**score, "left_out": {"no_such_snapshot": len(labelled) - len(kept)}})
    return {"scores": scores}


@explained
def run_embedding(table: FeatureTable, settings: Embedding) -> dict[str, Any]:
    """{"scores": [one], "runs": numbers, "properties", "snapshots": of each run, "paths": their places [T, 2],
    "trustworthiness", "seconds"}, JSON-ready; {"reason": text} when it cannot be done.

    The trustworthiness (scikit-learn's) is 1 where snapshots that lie near in the picture lie near in truth. The score
    is empty: nothing here has an interval.
    """
    from sklearn.manifold import TSNE, trustworthiness

    kept = spread(range(len(table.runs)), settings.runs)
    steps = [spread(range(table.runs[i].snapshots), settings.snapshots) for i in kept]
    rows = ranked(np.concatenate([table.features[i, of_run] for i, of_run in zip(kept, steps, strict=True)]))
    if len(rows) <= 3 * settings.perplexity:
        raise MetaError(f"too few snapshots for t-SNE: {len(rows)}")
    tsne = TSNE(2, perplexity=settings.perplexity, init="pca", random_state=settings.seed, n_jobs=1)
    points = tsne.fit_transform(rows.astype(np.float32))
    trust = float(trustworthiness(rows, points, n_neighbors=settings.nearest))
    paths = np.split(points.astype(float).round(3), np.cumsum([len(of_run) for of_run in steps])[:-1])
    return {
        "scores": [{}],
        "trustworthiness": trust,
        "runs": [table.runs[i].number for i in kept],
        "properties": [dict(table.runs[i].properties) for i in kept],
        "snapshots": [[i + 1 for i in of_run] for of_run in steps],
        "paths": [path.tolist() for path in paths],
    }


def ranked(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
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
