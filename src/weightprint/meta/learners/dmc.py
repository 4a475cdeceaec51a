"""DMC: the deep meta-classifier, a convolutional network on slices or whole vectors (protocol: section 4)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from weightprint.errors import MetaError, did_you_mean
from weightprint.features.slices import cut, draw_starts
from weightprint.meta.base import WHOLE, MetaClassifier, Training
from weightprint.meta.dmc_network import SHORTEST, DeepMetaClassifier
from weightprint.meta.rows import Member
from weightprint.seeds import seed_from_hash
from weightprint.zoo.layout import Layout

DECAYS, DECAY = 50, 0.95
"""The learning rate is multiplied by DECAY this many times over the training."""
KEPT_BYTES = 2 << 30
"""Weights kept in memory during a fit; what goes beyond is read from the disk again every epoch."""
SCORED_WEIGHTS = 640_000
"""Weights read at once while scoring: 128 slices of 5,000."""
SETTLING_SLICES, FEWEST_SETTLING_SLICES = 1024, 128
"""Slices that batch norm's statistics are measured on at the end of a training; fewer where a fifth of `max_seconds`
allows no more."""
PRECISIONS = ("float32", "bfloat16")


class DMC(MetaClassifier):
    """The deep meta-classifier of the paper, for slices of 32 weights and more, or whole vectors of one length.

    Settings are those of `MetaClassifier`, and
    epochs:        one random slice per snapshot in each; `max_seconds` may end the training before
    batch_size:    slices per gradient step; an epoch is dealt to batches of equal size, at most this large
    learning_rate: of Adam at the start
    dropout:       share of units dropped in the fully connected layers
    precision:     "float32", or "bfloat16": faster where the processor has it, with products rounded to 8 bits while
                   training

    Slices above 40,000 weights have a larger network; with whole vectors of 92,868 weights it takes about 5 GB at a
    batch of 64.

    Each epoch draws equally many slices of each class. The schedule of the learning rate follows the progress, which
    is the larger of the shares of epochs and of seconds used. After a fit `epochs_` is the number reached, a
    fraction when `max_seconds` ended it, which `capped_` tells (one step is always made); `loss_` is the mean training
    loss of each epoch. At the end batch norm's moving statistics are measured anew. A fit that is not capped gives the
    same weights for the same seed, thread count and library version.
    """

    name = "dmc"

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
        epochs: int = 50,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        dropout: float = 0.5,
        precision: str = "float32",
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
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.precision = precision

    def check(self) -> None:
        super().check()
        if self.local and int(self.slice_length) < SHORTEST:
            raise MetaError(
                f"dmc reads slices of {SHORTEST} weights or more, not {self.slice_length}",
                hint="--slice-length 5000",
            )
        if self.precision not in PRECISIONS:
            raise MetaError(f"unknown precision {self.precision!r}", hint=did_you_mean(self.precision, PRECISIONS))
        for name, low in (("epochs", 1), ("batch_size", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise MetaError(f"{name} must be a whole number from {low} up, not {value!r}")
        if not 0 <= self.dropout < 1:
            raise MetaError(f"dropout must be from 0 to below 1, not {self.dropout!r}")
        if not self.learning_rate > 0:
            raise MetaError(f"learning_rate must be above 0, not {self.learning_rate!r}")

    def fit(self, zoo: Any, y: None = None) -> DMC:
        self._kept_bytes, self._taken_length = 0, 0
        super().fit(zoo)
        return self

    @property
    def _length(self) -> int:
        """Weights that the network reads at a time."""
        return int(self.slice_length) if self.local else self.lengths_[0]

    def _take(self, member: Member, weights: npt.NDArray[np.float32], generator: np.random.Generator) -> Any:
        """The weights themselves while they fit into memory, then None."""
        if not self.local:
            self._check_length(weights, self._taken_length or weights.shape[1])
            self._taken_length = weights.shape[1]
        self._kept_bytes += weights.nbytes
        return weights if self._kept_bytes <= KEPT_BYTES else None

    def _check_length(self, weights: npt.NDArray[np.float32], length: int) -> None:
        """Raise MetaError for whole vectors that the network cannot read."""
        if weights.shape[1] != length or length < SHORTEST:
            found = f"{length} and {weights.shape[1]}" if weights.shape[1] != length else f"{length}"
            raise MetaError(
                f"dmc reads whole vectors of one length, at least {SHORTEST} weights; these have {found}",
                hint="read slices of them: --slice-length 5000",
            )

    def _fit(self, training: Training) -> None:
        device = _device(self.device)
        generator = torch.Generator(device).manual_seed(seed_from_hash("dmc", int(self.seed)))
        outputs = len(self.classes_) or 1
        self.network_ = DeepMetaClassifier(self._length, outputs, dropout=self.dropout, generator=generator)
        self.network_.to(device).train()
        optimizer = torch.optim.Adam(self.network_.parameters(), lr=self.learning_rate, fused=True)
        rounded = torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        self.loss_: list[float] = []
        self.capped_ = False
        limit = self.max_seconds or math.inf
        progress, steps, step_seconds = 0.0, 0, 0.0
        settling = SETTLING_SLICES
        draws = np.random.default_rng(seed_from_hash("dmc slices", int(self.seed)))

        for epoch in range(self.epochs):
            places, y = self._draw_epoch(training, draws)
            x = self._cut(training, places) if self.local else None  # whole vectors are copied batch by batch
            batches = np.array_split(np.arange(len(y)), math.ceil(len(y) / self.batch_size))
            losses = []
            for i, batch in enumerate(batches):
                now = time.monotonic()
                spent = (now - self._began) / limit
                forward_seconds = step_seconds / 3 / len(batch)  # of one slice
                if self.max_seconds and steps:
                    affordable = int(0.2 * limit / forward_seconds)
                    settling = min(settling, max(FEWEST_SETTLING_SLICES, affordable))
                settling_seconds = forward_seconds * min(len(y), settling)
                if steps and spent + (step_seconds + settling_seconds) / limit >= 1:
                    self.capped_ = True
                    break
                progress = max(progress, spent, (epoch + i / len(batches)) / self.epochs)
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate * DECAY ** math.floor(DECAYS * progress)
                slices = x[batch] if x is not None else self._cut(training, places[batch])
                with rounded:
                    found = self.network_(torch.from_numpy(slices).to(device)).float()  # [B, C]
                wanted = torch.from_numpy(y[batch]).to(device)
                loss = F.cross_entropy(found, wanted) if training.classification else F.l1_loss(found[:, 0], wanted)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                steps, step_seconds = steps + 1, time.monotonic() - now
            self.epochs_ = epoch + len(losses) / len(batches)
            if losses:
                self.loss_.append(float(np.mean(losses)))
            if self.capped_:
                break
        self._settle(self._cut(training, places[:settling]))

    def _settle(self, x: npt.NDArray[np.float32]) -> None:
        """Measure batch norm's moving statistics for the final weights: plain means over the batches of `x` [n, L].

        Differs: the paper never evaluates with moving statistics. Those gathered while training lag behind the
        weights; after a short training they put predictions at chance.
        """
        device = next(self.network_.parameters()).device
        norms = [module for module in self.network_.modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
        momenta = [norm.momentum for norm in norms]
        self.network_.eval()  # no dropout
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean
            norm.train()
        with torch.inference_mode():
            for batch in np.array_split(x, math.ceil(len(x) / self.batch_size)):
                self.network_(torch.from_numpy(batch).to(device))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        self.network_.eval()

    def _draw_epoch(self, training: Training, generator: np.random.Generator) -> tuple[npt.NDArray, npt.NDArray]:
        """One epoch's slices in random order: where they are, int64 [n, 3] of run, snapshot and start, and what to
        predict [n].

        As many slices as there are snapshots; each class gets an equal share of them, its snapshots taking turns.
        """
        goals = np.concatenate(training.goals)
        owner = np.repeat(np.arange(len(training.members)), [len(goal) for goal in training.goals])
        snapshot = np.concatenate([np.arange(len(goal)) for goal in training.goals])
        groups = (
            [np.flatnonzero(goals == c) for c in np.unique(goals)]
            if training.classification
            else [np.arange(len(goals))]
        )
        drawn = np.concatenate(list(_turns(groups, len(goals), generator)))
        order = generator.permutation(len(drawn))
        places = np.zeros((len(drawn), 3), np.int64)
        for m, member in enumerate(training.members):
            at = np.flatnonzero(owner[drawn] == m)
            places[order[at], 0] = m
            places[order[at], 1] = snapshot[drawn[at]]
            if self.local:
                starts = draw_starts(member.layout, self.part, self._length, len(at), generator=generator)
                places[order[at], 2] = starts
        y = np.empty(len(drawn), np.int64 if training.classification else np.float32)
        y[order] = goals[drawn]
        return places, y

    def _cut(self, training: Training, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """The slices at `places` [n, 3], as `_draw_epoch` gives them: float32 [n, L]."""
        length = self._length
        x = np.empty((len(places), length), np.float32)
        for m in np.unique(places[:, 0]):
            weights = training.taken[m] if training.taken[m] is not None else training.members[m].read()
            for row in np.flatnonzero(places[:, 0] == m):
                _, snapshot, start = places[row]
                x[row] = weights[snapshot, start : start + length]
        return x

    def _outputs(
        self, weights: npt.NDArray[np.float32], layout: Layout, starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        if starts is None:
            self._check_length(weights, self._length)
            slices = torch.from_numpy(np.ascontiguousarray(weights))  # [T, P]
        else:
            slices = torch.from_numpy(cut(weights, starts, self._length)).flatten(0, 1)  # [T·K, L]
        device = next(self.network_.parameters()).device
        self.network_.eval()
        at_once = max(1, SCORED_WEIGHTS // self._length)
        with torch.inference_mode():
            found = torch.cat([self.network_(batch.to(device)).double() for batch in slices.split(at_once)])
            if self.classes_:
                found = found.softmax(dim=1)
        shape = (len(weights), 1) if starts is None else starts.shape
        return found.cpu().numpy().reshape(*shape, -1)

    def _state(self) -> tuple[dict[str, npt.NDArray], dict[str, Any]]:
        arrays = {name: tensor.cpu().numpy() for name, tensor in self.network_.state_dict().items()}
        return arrays, {"epochs": self.epochs_, "capped": self.capped_, "loss": self.loss_}

    def _restore(self, arrays: dict[str, npt.NDArray], facts: dict[str, Any]) -> None:
        self.epochs_, self.capped_, self.loss_ = facts["epochs"], facts["capped"], facts["loss"]
        self.network_ = DeepMetaClassifier(
            self._length, len(self.classes_) or 1, dropout=self.dropout, generator=torch.Generator()
        )
        self.network_.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
        self.network_.to(_device(self.device)).eval()


def _turns(groups: list[npt.NDArray], total: int, generator: np.random.Generator) -> Iterator[npt.NDArray]:
    """About total / len(groups) members of each group; every member comes up equally often, or once more."""
    each = max(1, round(total / len(groups)))
    for group in groups:
        whole, rest = divmod(each, len(group))
        yield np.tile(group, whole)
        yield generator.choice(group, rest, replace=False)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise MetaError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}", hint="--device cpu") from error
    return device
