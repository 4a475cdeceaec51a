"""Cases: networks whose training is known, as the meta-classifier and its judges read them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from weightprint.features.anatomy import shapes
from weightprint.features.table import Table
from weightprint.files import sha256_hex
from weightprint.inspection.strangers import Stranger
from weightprint.zoo.layout import Layout
from weightprint.zoo.readable import Readable

FURTHER = ("optimizer", "batch_size_range", "learning_rate_range", "weight_decay_use")
"""Properties that are judged besides those that are offered."""

RULES = {"rmsprop_torch": "rmsprop"}
"""Update rules that go by one name outside."""


def further(properties: Mapping[str, Any]) -> dict[str, str]:
    """The properties of FURTHER: the rule by its usual name; batches, rates and decays as two ranges each, of which
    what lies between them is left out."""
    found: dict[str, str] = {}
    if "optimizer" in properties:
        found["optimizer"] = RULES.get(properties["optimizer"], properties["optimizer"])
    batch, rate = properties.get("batch_size"), properties.get("learning_rate")
    if batch is not None and not 16 < batch < 64:
        found["batch_size_range"] = "at most 16" if batch <= 16 else "at least 64"
    if rate is not None and not 2e-3 <= rate <= 5e-3:
        found["learning_rate_range"] = "below 2e-3" if rate < 2e-3 else "above 5e-3"
    if "weight_decay" in properties:
        found["weight_decay_use"] = "some" if properties["weight_decay"] > 0 else "none"
    return found


@dataclass(frozen=True)
class Case:
    """One network that answers are judged on.

    labels: property → true value
    setup:  equal for networks that are told to have been trained alike
    table:  its anatomy, one row
    layout: of its weights
    format: of its file; empty for a run of a zoo
    """

    labels: Mapping[str, Any]
    setup: tuple[str, ...]
    table: Table
    layout: Layout
    format: str = ""

    @property
    def shapes(self) -> dict[str, float]:
        """What shapes and the file's format tell, weights apart: name → number."""
        orders = {tensor.flatten.order for tensor in self.layout if tensor.flatten is not None}
        found = {**shapes(self.layout), "flattened hwc": float("hwc" in orders)}
        return found | ({f"format={self.format}": 1.0} if self.format else {})


def stacked(tables: Sequence[Table]) -> Table:
    """Rows of several tables under each other."""
    names = tuple(dict.fromkeys(name for table in tables for name in table.names))
    rows = [table.aligned(names) for table in tables]
    return Table(np.concatenate(rows) if rows else np.zeros((0, 0), np.float32), names)


def cases_of_runs(runs: Sequence[Readable], tables: Sequence[Table]) -> list[Case]:
    """Runs of a zoo by their last snapshot."""
    return [Case(run.properties, (run.identity,), table, run.layout) for run, table in zip(runs, tables, strict=True)]


def cases_of_strangers(strangers: Sequence[Stranger]) -> list[Case]:
    """The files that can be read and do not declare their training."""
    found = []
    for stranger in strangers:
        network = stranger.network
        if network is not None and not stranger.embedded:
            labels = {**stranger.labels, **further(stranger.labels)}
            found.append(Case(labels, stranger.setup, network.anatomy, network.layout, network.checkpoint.format))
    return found


class Relabelled:
    """A readable run whose properties are others: see `weightprint.zoo.readable.Readable`."""

    def __init__(self, run: Readable, properties: Mapping[str, Any]) -> None:
        self._run, self.properties = run, properties

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)


def with_further(runs: Sequence[Readable]) -> list[Readable]:
    """Runs that have the properties of FURTHER too."""
    return [cast(Readable, Relabelled(run, {**run.properties, **further(run.properties)})) for run in runs]


class TrainingFile(Relabelled):
    """A stranger's file as a run to fit on: its only weights stand at every snapshot.

    labels:    property → value
    snapshots: how many there are to be
    copy:      files weigh more than runs by standing several times
    cache:     folder where its anatomy is kept
    """

    def __init__(
        self, stranger: Stranger, labels: Mapping[str, Any], snapshots: int, copy: int, cache: Path | None
    ) -> None:
        assert stranger.network is not None  # the caller chooses files that can be read
        super().__init__(stranger.network, labels)
        self._network = stranger.network
        self.measurements: Sequence[Mapping[str, Any]] = [{}] * snapshots
        self.identity = f"{stranger.id} {copy}"
        self.kin = frozenset({stranger.id})
        self.checksum = sha256_hex(stranger.path.read_bytes())
        self.cache = cache

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        only = self._network.weights
        return np.broadcast_to(only, (len(self.measurements), only.shape[1]))


def training_files(
    strangers: Sequence[Stranger], known: Mapping[str, Collection[Any]], snapshots: int, copies: int, cache: Path | None
) -> list[Readable]:
    """Files to fit on beside runs of so many snapshots, each so many times, with those labels that are `known`."""
    found = []
    for stranger in strangers:
        labels = {**stranger.labels, **further(stranger.labels)}
        labels = {name: value for name, value in labels.items() if value in known.get(name, ())}
        if stranger.network is not None and not stranger.embedded and labels:
            found += [cast(Readable, TrainingFile(stranger, labels, snapshots, c, cache)) for c in range(copies)]
    return found
