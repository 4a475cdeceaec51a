"""Runs that a DMC is not trained on: how its loss on them goes while it trains.

They tell when learning begins and when it goes over into learning by heart. They are no test: a claim is scored on runs
that `fit` was never given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from weightprint.errors import MetaError
from weightprint.meta.learners.base import Vectors, deal_folds
from weightprint.meta.learners.dmc_draws import Draws
from weightprint.meta.learners.dmc_network import batch_norms, loss_of

MOST_SLICES = 1024


@dataclass(frozen=True)
class Unseen:
    """The same slices after each epoch, each class equally often.

    slices:  float32 [n, L]
    goals:   class numbers, or values with mean 0 and deviation 1 [n]
    classes: how many there are; 0 for a regression
    """

    slices: npt.NDArray[np.float32]
    goals: npt.NDArray
    classes: int

    def measure(self, network: nn.Module, batch_size: int) -> dict[str, float]:
        """loss and, with classes, accuracy: with batch norm's moving statistics as they are, and under
        "batch_loss" and "batch_accuracy" with those of each batch. Without dropout. The network stays as it is."""
        norms = batch_norms(network)
        network.eval()
        document = self._scores(network, batch_size, "")
        for norm in norms:
            norm.train()
            norm.track_running_stats = False
        document |= self._scores(network, batch_size, "batch_")
        for norm in norms:
            norm.track_running_stats = True
        network.train()
        return document

    def _scores(self, network: nn.Module, batch_size: int, prefix: str) -> dict[str, float]:
        device = next(network.parameters()).device
        truth = torch.from_numpy(self.goals).to(device)
        parts = np.array_split(self.slices, math.ceil(len(self.slices) / batch_size))
        with torch.inference_mode():
            scores = torch.cat([network(torch.from_numpy(part).to(device)).float() for part in parts])  # [n, C]
            document = {f"{prefix}loss": float(loss_of(scores, truth, self.classes))}
            if self.classes:
                document[f"{prefix}accuracy"] = float((scores.argmax(1) == truth).double().mean())
            return document


def hold_out(vectors: Vectors, one_in: int, seed: int) -> tuple[Vectors, Unseen]:
    """The runs without one in so many, of each class, and slices of these.

    Raises MetaError where too few runs would be left on either side.
    """
    generator = np.random.default_rng(seed)
    labels = [int(goals[0]) if vectors.classes else 0 for goals in vectors.goals]
    held = deal_folds(labels, one_in, generator) == 0
    if not held.any() or held.all():
        problem = f"{len(labels)} runs are too few to keep one in {one_in} from the training"
        raise MetaError(problem, hint="unseen=0 trains on all")
    draws = Draws(_some(vectors, np.flatnonzero(held)), generator)
    places, goals = draws.draw()
    slices = draws.cut(places[:MOST_SLICES])
    return _some(vectors, np.flatnonzero(~held)), Unseen(slices, goals[:MOST_SLICES], vectors.classes)


def _some(vectors: Vectors, runs: Sequence[int] | npt.NDArray[np.intp]) -> Vectors:
    return replace(
        vectors,
        read=[vectors.read[i] for i in runs],
        layouts=[vectors.layouts[i] for i in runs],
        goals=[vectors.goals[i] for i in runs],
    )
