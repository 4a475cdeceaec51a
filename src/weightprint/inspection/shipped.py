"""The shipped meta-classifier: several fits of boosted trees, the known world, and when a verdict may be given.

    shipped/
      world.json          the known world, calibration of each property, what it was fitted on and how well it does
      0, 1, …             meta-classifiers (`weightprint.meta.persistence`), whose probabilities are averaged
      card.md             the model card

Everything is text, JSON or safetensors; nothing stored is ever run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import CorruptFile, MetaError
from weightprint.features.table import Table
from weightprint.files import StrPath, write_json
from weightprint.inspection.world import World
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.models import load_meta

WORLD_FILE = "world.json"
VERSION = 1


@dataclass(frozen=True)
class Calibration:
    """When one property's verdict is given.

    temperature: by which the scores are divided
    threshold:   least probability at which a verdict is given; above 1 where none ever is
    quantile:    of 1 − the true class's probability, below which nine tenths of networks lie: what is at most so far
                 from 1 belongs to the 90 % set
    judged_on:   what the verdicts were judged on: "files of strangers", or "our own runs alone"
    reason:      why a verdict is never given; empty where one is
    """

    temperature: float = 1.0
    threshold: float = 0.8
    quantile: float = 0.5
    judged_on: str = "our own runs alone"
    reason: str = ""

    def apply(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Probabilities [..., C] at this temperature."""
        logs = np.log(np.maximum(probabilities, 1e-12)) / self.temperature
        raised = np.exp(logs - logs.max(axis=-1, keepdims=True))
        return raised / raised.sum(axis=-1, keepdims=True)

    def answers(self, probabilities: npt.NDArray[np.float64]) -> bool:
        """Whether calibrated probabilities [C] are sure enough for a verdict."""
        return not self.reason and bool(probabilities.max() >= self.threshold)

    def inside(self, probabilities: npt.NDArray[np.float64]) -> list[int]:
        """The 90 % set of calibrated probabilities [C]: class numbers, the likeliest one at least."""
        return np.flatnonzero(1 - probabilities <= self.quantile).tolist() or [int(probabilities.argmax())]


@dataclass(frozen=True)
class Shipped:
    """Fitted, calibrated, ready to read.

    metas:        the fits; each has the same targets
    world:        what they learnt from
    calibrations: property → when its verdict is given
    facts:        what they were fitted on, JSON-ready
    """

    metas: Sequence[MetaClassifier]
    world: World
    calibrations: Mapping[str, Calibration]
    facts: Mapping[str, Any]

    @property
    def properties(self) -> tuple[str, ...]:
        return tuple(self.metas[0].heads_)

    def classes(self, name: str) -> tuple[Any, ...]:
        return self.metas[0].heads_[name].target.classes

    def probabilities(self, name: str, table: Table) -> npt.NDArray[np.float64]:
        """Calibrated probabilities [n, C] of the rows of an anatomy."""
        found = np.mean([meta.heads_[name].outputs(table) for meta in self.metas], axis=0)
        return self.calibrations[name].apply(found)

    def contributions(self, name: str, table: Table, answer: int) -> dict[str, float]:
        """How much each column moved the score of a class for the first row: column → Shapley value, averaged over the
        fits. Positive is towards the class."""
        found: dict[str, float] = {}
        for meta in self.metas:
            trees = meta.heads_[name].fitted
            values = trees.contributions(table.rows[:1], table.names)[0]  # type: ignore[attr-defined]  # boosting alone
            if len(values) == 1:
                own = values[0] if answer == 1 else -values[0]
            else:
                own = values[answer] - values.mean(axis=0)
            for column, value in zip(trees.names, own[:-1], strict=True):  # type: ignore[attr-defined]
                found[column] = found.get(column, 0.0) + float(value) / len(self.metas)
        return found

    def save(self, folder: StrPath) -> Path:
        """Write the folder; meta-classifiers first, so that a folder with its world is whole."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for number, meta in enumerate(self.metas):
            meta.save(folder / str(number))
        calibrations = {name: vars(calibration) for name, calibration in self.calibrations.items()}
        document = {"version": VERSION, "fits": len(self.metas), "facts": dict(self.facts)}
        write_json(folder / WORLD_FILE, {**document, "world": self.world.to_json(), "calibrations": calibrations})
        return folder

    @classmethod
    def load(cls, folder: StrPath) -> Shipped:
        """Raises MetaError for a folder without one, CorruptFile for one that is not what was written."""
        folder = Path(folder)
        try:
            document = json.loads((folder / WORLD_FILE).read_text(encoding="utf-8"))
        except OSError as error:
            raise MetaError(f"{folder} holds no meta-classifier to inspect with: {error.strerror}") from error
        except ValueError as error:
            raise CorruptFile(f"{folder / WORLD_FILE} is not valid JSON: {error}") from error
        try:
            if document["version"] != VERSION:
                raise MetaError(f"{folder} has version {document['version']}, this weightprint reads {VERSION}")
            metas = [load_meta(folder / str(number)) for number in range(document["fits"])]
            calibrations = {name: Calibration(**fields) for name, fields in document["calibrations"].items()}
            return cls(metas, World.from_json(document["world"]), calibrations, document["facts"])
        except (KeyError, TypeError, IndexError) as error:
            raise CorruptFile(f"{folder / WORLD_FILE} does not hold what it should: {error}") from error


@lru_cache(maxsize=1)
def shipped() -> Shipped:
    """The one that comes with the package."""
    return Shipped.load(Path(__file__).parent / "shipped")
