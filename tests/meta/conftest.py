"""Zoos in memory with planted signals."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weightprint.errors import CorruptFile
from weightprint.seeds import seed_from_hash, uniform_from_hash
from weightprint.setups import Setup
from weightprint.zoo.layout import Layout

SMALL = Setup(filter_size=3, width_conv=2, width_fc=8, depth_fc=1, outputs=10)
DEEPER = Setup(filter_size=3, width_conv=2, width_fc=8, depth_fc=2, outputs=10)
OPTIMIZERS = ("adam", "rmsprop", "momentum")
SNAPSHOTS = 4


@dataclass
class MemoryRun:
    """A run whose weights are drawn when read; their scale tells the optimizer, their mean the learning rate."""

    number: int
    properties: dict[str, Any]
    layout: Layout
    status: str = "complete"
    converged: bool | None = True
    snapshots: int = SNAPSHOTS
    broken: str = ""
    shift: float = 0.0
    measurements: list[dict[str, Any]] = field(default_factory=list)

    checksum: str | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        self.identity = f"zoo:{self.number}"
        self.kin = frozenset({self.identity})
        self.name = f"run {self.number}"
        self.measurements = [
            {"snapshot": s, "test_accuracy": round(0.3 + 5 * self.properties["learning_rate"] + 0.01 * s, 4)}
            for s in range(1, self.snapshots + 1)
        ]

    @property
    def weights(self) -> np.ndarray:
        if self.broken == "corrupt":
            raise CorruptFile("0000003.safetensors: the checksum differs")
        generator = np.random.default_rng(seed_from_hash(self.identity))
        scale = 0.05 * 1.6 ** OPTIMIZERS.index(self.properties["optimizer"])
        weights = generator.normal(size=(self.snapshots, self.layout.size)) * scale
        weights += 10 * self.properties["learning_rate"]
        if self.broken == "nan":
            weights[-1, 3] = np.nan
        return weights.astype(np.float32)


class MemoryZoo:
    identity = "zoo"

    def __init__(self, runs: list[MemoryRun]) -> None:
        self.runs = runs

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self):
        return iter(self.runs)

    def __getitem__(self, number: int) -> MemoryRun:
        return next(run for run in self.runs if run.number == number)

    def where(self, keep) -> MemoryZoo:
        return MemoryZoo([run for run in self.runs if keep(run)])

    def split(self, *, split_seed: int = 0) -> tuple[MemoryZoo, MemoryZoo]:
        side = split_seed % 4
        return self.where(lambda run: run.number % 4 != side), self.where(lambda run: run.number % 4 == side)


def draw_properties(number: int) -> dict[str, Any]:
    def u(name: str) -> float:
        return uniform_from_hash("memory", name, number)

    return {
        "optimizer": OPTIMIZERS[int(3 * u("optimizer"))],
        "augmentation": u("augmentation") < 0.5,
        "batch_size": (32, 64)[int(2 * u("batch_size"))],
        "learning_rate": 0.001 + 0.02 * u("learning_rate"),
        "dataset": "mnist",
    }


def memory_zoo(runs: int = 60, *, setups: tuple[Setup, ...] = (SMALL,), **options: Any) -> MemoryZoo:
    layouts = [Layout.of(setup) for setup in setups]
    return MemoryZoo([MemoryRun(i, draw_properties(i), layouts[i % len(layouts)], **options) for i in range(runs)])


@pytest.fixture
def make_zoo():
    return memory_zoo


@pytest.fixture(scope="session")
def zoo() -> MemoryZoo:
    return memory_zoo()


@pytest.fixture(scope="session")
def twin() -> MemoryZoo:
    """A second zoo of the same seed: its run i is kin of run i of `zoo`."""
    other = memory_zoo()
    for run in other:
        run.identity = f"twin:{run.number}"
    return other


@pytest.fixture(scope="session")
def few() -> MemoryZoo:
    """Runs enough where a deep network is fitted and nothing has to be learnt."""
    return memory_zoo(16)


@pytest.fixture(scope="session")
def mixed_zoo() -> MemoryZoo:
    """Two architectures in turn: the second has a further hidden layer."""
    return memory_zoo(setups=(SMALL, DEEPER))
