"""Features: pure, versioned functions from what is read in a run to a table of named numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import check_known
from weightprint.features.slices import cut
from weightprint.zoo.layout import Layout


@dataclass(frozen=True)
class Source:
    """What features are computed from.

    weights:    float32 [T, P]; [T, 0] for features that need none
    layout:     of these weights
    starts:     where slices begin, int64 [T, K]; None for whole vectors
    length:     weights of a slice; None for whole vectors
    properties: of the run, and `measured` the names of what was measured in it, for features that read these
    """

    weights: npt.NDArray[np.float32]
    layout: Layout
    starts: npt.NDArray[np.int64] | None = None
    length: int | None = None
    properties: Mapping[str, Any] | None = None
    measured: tuple[str, ...] = ()

    @property
    def slices(self) -> npt.NDArray[np.float32]:
        """float32 [T·K, L]."""
        assert self.starts is not None  # only features of slices ask
        assert self.length is not None
        return cut(self.weights, self.starts, self.length).reshape(-1, self.length)


@dataclass(frozen=True)
class Table:
    """Rows of named numbers: float32 [n, F], NaN where a network does not have what a column is about; names [F]."""

    rows: npt.NDArray[np.float32]
    names: tuple[str, ...]

    def aligned(self, names: tuple[str, ...]) -> npt.NDArray[np.float32]:
        """The rows with these columns in this order; NaN for a column that the table does not have."""
        if names == self.names:
            return self.rows
        place = {name: i for i, name in enumerate(self.names)}
        gap = np.full((len(self.rows), 1), np.nan, np.float32)
        return np.hstack([self.rows, gap])[:, [place.get(name, -1) for name in names]]


@dataclass(frozen=True)
class Features:
    """One way to read a run.

    name:     under which meta-classifiers are saved with it
    version:  raised whenever equal weights would give other numbers
    table:    the function: a row per snapshot of whole vectors, per slice, or a single one (`per_run`)
    whole, slices: what it can read
    weights:  whether it reads weights at all
    per_run:  whether it gives one row for all snapshots of a run
    shortest: weights that a slice must have at least
    """

    name: str
    version: int
    table: Callable[[Source], Table]
    whole: bool = True
    slices: bool = False
    weights: bool = True
    per_run: bool = False
    shortest: int = 1


def _statistics(source: Source) -> Table:
    from weightprint.features.statistics import FEATURES, statistics, tensor_statistics

    if source.starts is not None:
        return _narrow(statistics(source.slices), FEATURES)
    return _narrow(*tensor_statistics(source.weights, source.layout))


def _texture(source: Source) -> Table:
    from weightprint.features.texture import texture

    return _narrow(*texture(source.slices))


def _anatomy(source: Source) -> Table:
    from weightprint.features.anatomy import anatomy

    rows, names = anatomy(source.weights, source.layout)
    kept = [i for i, name in enumerate(names) if not name.startswith("shape/")]  # those are what `shapes` reads
    return _narrow(rows[:, kept], tuple(names[i] for i in kept))


def _raw(source: Source) -> Table:
    rows = source.weights if source.starts is None else source.slices
    return Table(np.ascontiguousarray(rows, np.float32), _numbers(rows.shape[1]))


@lru_cache(maxsize=16)
def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def _shapes(source: Source) -> Table:
    """The length of the weight vector, the number of tensors and their shapes, by name and by role."""
    from weightprint.features.anatomy import shapes

    facts: dict[str, float] = {"weights": source.layout.size, "tensors": len(source.layout)}
    for tensor in source.layout:
        facts.update({f"{tensor.name}.{axis}": side for axis, side in enumerate(tensor.shape)})
    return _row(facts | {f"shape/{name}": value for name, value in shapes(source.layout).items()})


def _fields(source: Source) -> Table:
    """The run's properties but those that were measured: numbers as they are, a 1 for each text ("field=value")."""
    facts: dict[str, float] = {}
    for name, value in (source.properties or {}).items():
        if name in source.measured:
            continue
        if isinstance(value, (bool, int, float)):
            facts[name] = float(value)
        elif isinstance(value, str):
            facts[f"{name}={value}"] = 1.0
    return _row(facts)


def _nothing(_: Source) -> Table:
    return _row({})


def _row(facts: Mapping[str, float]) -> Table:
    return Table(np.array([list(facts.values())], np.float32).reshape(1, len(facts)), tuple(facts))


def _narrow(rows: npt.NDArray, names: tuple[str, ...]) -> Table:
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite there, and a large number to a tree
        return Table(np.nan_to_num(rows.astype(np.float32), nan=np.nan), tuple(names))


FEATURES: dict[str, Features] = {
    features.name: features
    for features in (
        Features("statistics", 2, _statistics, slices=True),
        Features("texture", 2, _texture, whole=False, slices=True, shortest=50),
        Features("anatomy", 4, _anatomy),
        Features("raw", 1, _raw, slices=True, shortest=16),
        Features("shapes", 2, _shapes, weights=False, per_run=True),
        Features("fields", 1, _fields, weights=False, per_run=True),
        Features("nothing", 1, _nothing, weights=False, per_run=True),
    )
}
"""By name. shapes and fields read facts, no weights; nothing reads nothing, for the majority's answer."""


def features_named(name: str) -> Features:
    """Raises MetaError for an unknown name, with the nearest."""
    check_known("features", name, FEATURES)
    return FEATURES[name]
