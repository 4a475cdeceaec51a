"""What is read in every snapshot of a zoo's runs, as one table: what most experiments stand on.

The numbers come from the features' store; nothing is kept here but in memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from weightprint.errors import CorruptFile, MetaError
from weightprint.features import store
from weightprint.features.statistics import FEATURES
from weightprint.features.table import Table, features_named
from weightprint.files import canonical_json, sha256_hex
from weightprint.meta.view import Snapshots, View
from weightprint.study.cells import side_by_side
from weightprint.zoo import Run, Zoo

Read = tuple[str, tuple[str, ...]]
"""A name of `weightprint.features.table.FEATURES`, and the kinds of tensors that are left out of the reading."""


Place = tuple[str, tuple[int, ...], str]
"""Where the runs of a zoo lie: its path, their numbers, and its fingerprint."""


class StudiedRun(Run):
    """A run whose weights are not at hand, but what was read in them.

    snapshots: how many it has
    table:     what is read in them, a row for each; None before the table is asked for its runs
    """

    table: Table | None = None

    def __init__(self, run: Run, snapshots: int) -> None:
        vars(self).update(vars(run), kin=run.kin, checksum=None)
        self.snapshots = snapshots

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """None at hand: float32 [T, 0]."""
        return np.zeros((self.snapshots, 0), np.float32)

    def held(self, features: str, snapshots: Sequence[int], without: tuple[str, ...]) -> Table | None:
        """Rows of the table; see `weightprint.features.store.read`. The table is of the features and tensors wanted."""
        if self.table is None:
            return None
        return Table(self.table.rows[np.array(snapshots) - 1], self.table.names)

    def snapshots_of(self, which: Snapshots) -> tuple[int, ...]:
        """The numbers of the snapshots meant, from 1; empty where the run has none of them."""
        return View(snapshots=which).snapshots_of(self.snapshots)


@dataclass(frozen=True)
class FeatureTable:
    """What is read in N runs of one zoo.

    features: float32 [N, T, F], T the most snapshots that a run has; NaN where a network has no such tensor, and for
              snapshots that a run does not have
    names:    of the F columns: tensor and statistic, "conv1/kernel.q25", or role and
              quantity, "conv first: kernel.mean"
    tensors:  tensor → its kind and part, in the order of their first appearance
    runs:     [N]
    """

    features: npt.NDArray[np.float32]
    names: tuple[str, ...]
    tensors: dict[str, dict[str, str]]
    runs: tuple[StudiedRun, ...]

    @property
    def snapshots(self) -> int:
        return self.features.shape[1]

    def readable(self, tensors: tuple[str, ...] = ()) -> list[StudiedRun]:
        """The runs with their rows of the table, of which only the columns of some tensors are read, or all."""
        features, names = self.features, self.names
        if tensors:
            kept = self.columns(tensors)
            features, names = features[:, :, kept], tuple(np.array(names)[kept].tolist())
        shown = [copy(run) for run in self.runs]
        for run, rows in zip(shown, features, strict=True):
            run.table = Table(rows, names)
        return shown

    def columns(self, tensors: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        """Which columns are statistics of these tensors: bool [F]."""
        return np.isin([tensor_of(name) for name in self.names], tensors)


def tensor_of(name: str) -> str:
    """The tensor of a column of statistics: "conv1/kernel" of "conv1/kernel.d.q25"."""
    feature = max((f for f in FEATURES if name.endswith("." + f)), key=len)
    return name[: -len(feature) - 1]


def fingerprint(zoo: Zoo) -> str:
    """SHA-256 over the identities, statuses and contents of the runs: other runs, another fingerprint."""
    rows = zoo.index.select("number", "identity", "status", "sha256").rows()
    return sha256_hex(canonical_json([list(row) for row in rows]).encode())


def fill(
    zoo: Zoo, reads: Iterable[Read], *, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> None:
    """Have the features' store hold what the tables of a zoo are made of.

    workers:  processes
    progress: called with the runs done and the runs there are
    """
    runs = list(zoo.select(status="complete"))
    work = partial(_fill_run, tuple(dict.fromkeys(reads)))
    for count, _ in enumerate(side_by_side(work, runs, workers), start=1):
        if progress is not None:
            progress(count, len(runs))


def _fill_run(reads: tuple[Read, ...], run: Run) -> None:
    for features, without in reads:
        try:
            _tables_of(run, features, without)
        except CorruptFile:
            return  # named where the table is made


def _tables_of(run: Run, features: str, without: tuple[str, ...]) -> Table:
    """One row per snapshot of the run, all of them."""
    numbers = tuple(range(1, (len(run.measurements) or len(run.weights)) + 1))
    return store.read(run, features_named(features), numbers, without=without)


def read_table(zoo: Zoo, features: str = "statistics", *, without: tuple[str, ...] = ()) -> FeatureTable:
    """What `features` say of all snapshots of a zoo's complete runs; read once by a process.

    without: kinds of tensors that are left out, names of `weightprint.features.omission.WITHOUT`

    Runs that cannot be read are left out with a warning. Raises MetaError when no run is left.
    """
    return table_at(place_of(zoo), features, without)


def place_of(zoo: Zoo) -> Place:
    """Where its runs lie."""
    return str(zoo.path), tuple(zoo.numbers), fingerprint(zoo)


@lru_cache(maxsize=8)
def runs_at(place: Place) -> list[Run]:
    """The runs of a zoo; kept, so that a process reads what is known of a run once."""
    path, numbers, _ = place
    return list(Zoo(path).select(numbers=numbers))


@lru_cache(maxsize=8)
def table_at(place: Place, features: str, without: tuple[str, ...]) -> FeatureTable:
    """`read_table` of the runs that lie there."""
    tables: list[Table] = []
    runs: list[StudiedRun] = []
    tensors: dict[str, dict[str, str]] = {}
    for run in runs_at(place):
        if run.status != "complete":
            continue
        try:
            table, layout = _tables_of(run, features, without), run.layout
        except CorruptFile as error:
            warnings.warn(f"{run.name} is left out: {error.message}", stacklevel=3)
            continue
        tables.append(table)
        tensors.update({t.name: {"kind": t.kind, "part": t.part} for t in layout if t.size})
        runs.append(StudiedRun(run, len(table.rows)))
    if not runs:
        raise MetaError("the zoo has no complete run to study")
    names = tuple(dict.fromkeys(name for table in tables for name in table.names))
    features_of = np.full((len(runs), max(run.snapshots for run in runs), len(names)), np.nan, np.float32)
    for row, table in zip(features_of, tables, strict=True):
        row[: len(table.rows)] = table.aligned(names)
    return FeatureTable(features_of, names, tensors, tuple(runs))
