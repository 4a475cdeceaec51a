"""SliceTrees: gradient-boosted decision trees on the texture of slices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.features.slices import cut, draw_starts
from weightprint.features.statistics import align
from weightprint.features.texture import SHORTEST, texture
from weightprint.meta.base import WHOLE, Training
from weightprint.meta.rows import Member
from weightprint.meta.trees import Trees, bins
from weightprint.zoo.layout import Layout


class SliceTrees(Trees):
    """Histogram gradient boosting (scikit-learn) on `weightprint.features.texture` of slices, for 50 weights and more.

    Settings and fitted attributes are those of `Trees`, and
    draws: random slices taken of each snapshot for a fit

    It reads the slice alone: neither where it lies nor what the network looks like.
    """

    name = "slice_trees"
    reads_slices = True
    reads_whole = False

    def __init__(
        self,
        target: str,
        *,
        part: str = WHOLE,
        slice_length: int | str = 5000,
        snapshots: tuple[int, int] | None = (11, 20),
        without: tuple[str, ...] = (),
        converged: bool = True,
        seed: int = 0,
        device: str = "cpu",
        max_seconds: float | None = None,
        iterations: int = 60,
        learning_rate: float = 0.1,
        leaves: int = 15,
        early_stopping: bool = True,
        draws: int = 4,
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
            iterations=iterations,
            learning_rate=learning_rate,
            leaves=leaves,
            early_stopping=early_stopping,
        )
        self.draws = draws

    def check(self) -> None:
        super().check()
        if int(self.slice_length) < SHORTEST:
            raise MetaError(f"{self.name} reads slices of {SHORTEST} weights or more, not {self.slice_length}")
        if not isinstance(self.draws, int) or self.draws < 1:
            raise MetaError(f"draws must be a whole number from 1 up, not {self.draws!r}")

    def _take(self, member: Member, weights: npt.NDArray[np.float32], generator: np.random.Generator) -> Any:
        shape, length = (len(weights), self.draws), int(self.slice_length)
        starts = draw_starts(member.layout, self.part, length, shape[0] * shape[1], generator=generator)
        return texture(cut(weights, starts.reshape(shape), length).reshape(-1, length))

    def _fit(self, training: Training) -> None:
        # A snapshot's goal is repeated for its draws.
        super()._fit(replace(training, goals=[np.repeat(goal, self.draws) for goal in training.goals]))

    def _outputs(
        self, weights: npt.NDArray[np.float32], layout: Layout, starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        if starts is None:
            raise MetaError(f"{self.name} reads slices, not whole vectors", hint="--slice-length 5000")
        length = int(self.slice_length)
        features, names = texture(cut(weights, starts, length).reshape(-1, length))
        rows = bins(align(features, names, self.feature_names_), self.edges_)
        return self.forest_.outputs(rows).reshape(*starts.shape, -1)
