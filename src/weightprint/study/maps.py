"""Maps of weight space: the snapshots of many runs in a plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import ZooError

if TYPE_CHECKING:
    from weightprint.zoo import Run, Zoo
    from weightprint.zoo.layout import Layout

MOST_RUNS = 60
MOST_SNAPSHOTS = 20
PER_TENSOR = 300
"""Weights taken of each tensor: with more, a map takes longer and looks the same."""


@dataclass(frozen=True)
class PathMap:
    """Training paths in a plane.

    paths:      per run its snapshots [T, 2], first to last
    properties: per run what is known of it
    name:       of the figure
    plane:      what the plane is, in words
    axes:       its axes' names
    """

    paths: list[npt.NDArray[np.float64]]
    properties: list[dict[str, Any]]
    name: str
    plane: str
    axes: tuple[str, str]


@dataclass(frozen=True)
class WeightMap(PathMap):
    """Training paths in two principal components.

    shares:   of the variance, by each of the two axes
    same:     runs that have this architecture
    complete: runs to choose from
    size:     P, weights of a snapshot
    used:     weights of a snapshot that were read
    """

    shares: tuple[float, float]
    same: int
    complete: int
    size: int
    used: int


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the items, evenly spread from first to last."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, most).round().astype(int))]


def weight_map(zoo: Zoo, *, most_runs: int = MOST_RUNS) -> WeightMap | None:
    """Principal components of the snapshots of runs that share the most frequent layout.

    Returns None when fewer than three snapshots can be read or they do not differ. The same zoo gives the same map.
    """
    from sklearn.decomposition import PCA

    runs, complete = _runs_of_one_layout(zoo)
    if not runs:
        return None
    layout = runs[0].layout
    columns = _columns(layout)
    taken: list[npt.NDArray[np.float32]] = []
    properties = []
    for run in spread(runs, most_runs):
        try:
            weights = run.weights
        except ZooError:
            continue
        rows = spread(range(len(weights)), MOST_SNAPSHOTS)
        taken.append(weights[np.ix_(rows, np.concatenate(columns))])
        properties.append(run.properties)
    if sum(map(len, taken)) < 3:
        return None
    matrix = standardised(np.concatenate(taken), [len(c) for c in columns])
    if matrix.shape[1] < 2 or not np.ptp(matrix, axis=0).any():
        return None
    pca = PCA(n_components=2, svd_solver="randomized", random_state=0)
    points = pca.fit_transform(matrix)
    ends = np.cumsum([len(rows) for rows in taken])[:-1]
    first, second = map(float, pca.explained_variance_ratio_)
    axes = f"first component ({100 * first:.0f} % of variance)", f"second component ({100 * second:.0f} %)"
    plane = np.split(points, ends), properties, "map", "two principal components", axes
    return WeightMap(*plane, (first, second), len(runs), complete, layout.size, sum(map(len, columns)))


def _runs_of_one_layout(zoo: Zoo) -> tuple[list[Run], int]:
    """The complete runs of the most frequent layout (the first of equals), and how many are complete."""
    complete = zoo.select(status="complete")
    layouts: dict[int, Layout] = {}
    for run in complete:
        with suppress(ZooError):
            layouts[run.number] = run.layout
    if not layouts:
        return [], len(complete)
    frequent = Counter(layouts.values()).most_common(1)[0][0]
    return [complete[number] for number, layout in layouts.items() if layout == frequent], len(complete)


def _columns(layout: Layout) -> list[npt.NDArray[np.intp]]:
    """Which weights are read: of each tensor at most PER_TENSOR, chosen at random from a fixed seed, in order."""
    generator = np.random.default_rng(0)
    columns = []
    for tensor in layout:
        if tensor.size:
            chosen = generator.choice(tensor.size, min(tensor.size, PER_TENSOR), replace=False)
            columns.append(np.sort(chosen) + tensor.offset)
    return columns


def standardised(weights: npt.NDArray[np.float32], widths: list[int]) -> npt.NDArray[np.float64]:
    """Weights [N·T, K] on a scale on which neither large weights nor large tensors decide alone.

    widths: how many of the K columns belong to each tensor

    Each weight becomes its rank among all weights of its tensor, ties the mean of their ranks, so that a run whose
    weights grew a thousandfold stays on the map. Then each tensor is centred and divided by the root of its total
    variance, so that all count the same. Tensors that never change are left out.
    """
    from scipy.stats import rankdata

    blocks = []
    start = 0
    for width in widths:
        block = weights[:, start : start + width]
        start += width
        ranks = rankdata(block, axis=None).reshape(block.shape) / block.size
        ranks -= ranks.mean(axis=0)
        total = np.sqrt((ranks**2).sum(axis=1).mean())
        if total > 1e-9:
            blocks.append(ranks / total)
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((len(weights), 0))
