"""Baselines: what can be said of a run without reading a weight's value. A result counts beyond the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.meta.base import WHOLE, MetaClassifier, Training
from weightprint.meta.rows import Member
from weightprint.meta.trees import Trees, bins
from weightprint.zoo.layout import Layout

Facts = dict[str, float]
"""Numbers by name; \"field=value\" is 1 where a run's field has that text and is left out where it has another."""

NOTHING = "="
"""The one feature where there are no facts to tell runs apart: 0 for every run."""


class Majority(MetaClassifier):
    """Answers the same for every run: how frequent each class was among the training runs, or their mean.

    Settings are those of `MetaClassifier`. Differs from the other models: classes are not balanced, since their
    frequencies are all that it has. No weights are read.
    """

    name = "majority"
    reads_weights = False
    reads_slices = False

    def __init__(
        self,
        target: str,
        *,
        part: str = WHOLE,
        slice_length: int | str = WHOLE,
        snapshots: tuple[int, int] | None = (11, 20),
        without: tuple[str, ...] = (),
        converged: bool = True,
        seed: int = 0,
        device: str = "cpu",
        max_seconds: float | None = None,
    ) -> None:
        super().__init__(
            target,
            part=part,
            slice_length=slice_length,
            snapshots=snapshots,
            without=without,
            converged=converged,
            seed=seed,
            device=device,
            max_seconds=max_seconds,
        )

    def _take(self, member: Member, weights: npt.NDArray[np.float32], generator: np.random.Generator) -> Any:
        return None

    def _fit(self, training: Training) -> None:
        if training.classification:
            counts = np.bincount(training.strata, minlength=len(self.classes_))
            self.answer_ = counts / counts.sum()
        else:
            self.answer_ = np.array([np.mean([goal.mean() for goal in training.goals])])

    def _outputs(
        self, weights: npt.NDArray[np.float32], layout: Layout, starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        return np.tile(self.answer_, (len(weights), 1, 1))

    def _state(self) -> tuple[dict[str, npt.NDArray], dict[str, Any]]:
        return {"answer": self.answer_}, {}

    def _restore(self, arrays: dict[str, npt.NDArray], facts: dict[str, Any]) -> None:
        self.answer_ = arrays["answer"]


class TabularTrees(Trees):
    """Boosted trees on a few facts of each run in place of its weights, one row per run; `_facts` says which.

    Settings are those of `Trees`. Facts that only one training run has, or that all have alike, are not used.
    """

    reads_weights = False

    def _facts(self, member: Member) -> Facts:
        raise NotImplementedError

    def _take(self, member: Member, weights: npt.NDArray[np.float32], generator: np.random.Generator) -> Any:
        return self._facts(member)

    def _fit(self, training: Training) -> None:
        values: dict[str, list[float]] = {}
        for facts in training.taken:
            for name, value in facts.items():
                values.setdefault(name, []).append(value)
        runs = len(training.taken)
        names = tuple(n for n, v in values.items() if len(v) > 1 and (len(v) < runs or len(set(v)) > 1))
        names = names or (NOTHING,)
        rows = [(_row(facts, names), names) for facts in training.taken]
        goals = [goal[:1] if training.classification else goal.mean(keepdims=True) for goal in training.goals]
        super()._fit(replace(training, taken=rows, goals=goals))

    def _answer(
        self, member: Member, weights: npt.NDArray[np.float32], starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        found = self.forest_.outputs(bins(_row(self._facts(member), self.feature_names_), self.edges_))
        return np.tile(found, (len(weights), 1, 1))


class Shapes(TabularTrees):
    """Reads the length of the weight vector, the number of tensors and their shapes, never a weight.

    What it finds comes from the architecture. Settings are those of `Trees`.
    """

    name = "shapes"

    def _facts(self, member: Member) -> Facts:
        layout = member.layout
        facts: Facts = {"weights": layout.size, "tensors": len(layout)}
        for tensor in layout:
            facts.update({f"{tensor.name}.{axis}": side for axis, side in enumerate(tensor.shape)})
        return facts


class Fields(TabularTrees):
    """Predicts from the other properties of a run: what the rest of the set-up says of a test accuracy, say.

    Never from the target, nor from what is measured. Of a choice it says how far it depends on the other choices:
    drawn independently they do not, but a filter by convergence makes them. Settings are those of `Trees`.
    """

    name = "fields"

    def _facts(self, member: Member) -> Facts:
        run = member.run
        measured = run.measurements[0] if run.measurements else {}
        facts: Facts = {}
        for name, value in run.properties.items():
            if name == self.target or name in measured:
                continue
            if isinstance(value, (bool, int, float)):
                facts[name] = float(value)
            elif isinstance(value, str):
                facts[f"{name}={value}"] = 1.0
        return facts


def _row(facts: Facts, names: Sequence[str]) -> npt.NDArray[np.float64]:
    """One row of features [1, F]: 0 for a text that a run does not have, NaN for a number that it does not have."""
    return np.array([[facts.get(name, 0.0 if "=" in name else np.nan) for name in names]])
