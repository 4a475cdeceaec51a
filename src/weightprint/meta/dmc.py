"""DMC: the deep meta-classifier, a 1-D convolutional network on slices of weights (protocol: section 4)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weightprint.errors import MetaError
from weightprint.files import seed_from_hash
from weightprint.layouts import Layout
from weightprint.meta.base import WHOLE, MetaClassifier, Training
from weightprint.meta.rows import Member
from weightprint.slices import cut, draw_starts

KERNEL = 5
BLOCKS = ((8,), (16,), (32, 64), (128, 256))
"""Channels of the convolutions; a max pool of 2 ends each block."""
DEEP_LAYERS, DEEP_CHANNELS = 6, 256
LONGEST_DEEP = 50
"""A deep convolution is preceded by a pool while the length is above this."""
UNITS = (1024, 1024, 1024, 1024, 64)
LONGEST_SLICE = 40_000
"""The paper has another network for longer slices."""
SHORTEST_SLICE = 32
"""Five pools halve the length: a shorter slice would leave nothing."""
DECAYS, DECAY = 50, 0.95
"""The learning rate is multiplied by DECAY this many times over the training."""
KEPT_BYTES = 2 << 30
"""Weights kept in memory during a fit; what goes beyond is read from the disk again every epoch."""
SCORING_BATCH = 128
SETTLING_SLICES = 1024
"""Slices that batch norm's statistics are measured on at the end of a training."""


class DMC(MetaClassifier):
    """The deep meta-classifier of the paper, for slices of 32 to 40,000 weights.

    Settings are those of `MetaClassifier`, and
    epochs:        one random slice per snapshot in each; `max_seconds` may end the training before
    batch_size:    slices per gradient step; an epoch is dealt to batches of equal size, at most this large
    learning_rate: of Adam at the start
    dropout:       share of units dropped in the fully connected layers

    Each epoch draws equally many slices of each class. The schedule of the learning rate follows the progress, which
    is the larger of the shares of epochs and of seconds used. After a fit `epochs_` is the number reached, a
    fraction when `max_seconds` ended it, which `capped_` tells (one step is always made); `loss_` is the mean training
    loss of each epoch. At the end batch norm's moving statistics are measured anew. A fit that is not capped gives the
    same weights for the same seed, thread count and library version.
    """

    name = "dmc"
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
        epochs: int = 50,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        dropout: float = 0.5,
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

    def check(self) -> None:
        super().check()
        if not SHORTEST_SLICE <= int(self.slice_length) <= LONGEST_SLICE:
            raise MetaError(
                f"dmc reads slices of {SHORTEST_SLICE} to {LONGEST_SLICE} weights, not {self.slice_length}",
                hint="--slice-length 5000",
            )
        for name, low in (("epochs", 1), ("batch_size", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise MetaError(f"{name} must be a whole number from {low} up, not {value!r}")
        if not 0 <= self.dropout < 1:
            raise MetaError(f"dropout must be from 0 to below 1, not {self.dropout!r}")
        if not self.learning_rate > 0:
            raise MetaError(f"learning_rate must be above 0, not {self.learning_rate!r}")

    def fit(self, zoo: Any, y: None = None) -> DMC:
        self._kept_bytes = 0
        super().fit(zoo)
        return self

    def _take(self, member: Member, weights: npt.NDArray[np.float32], generator: np.random.Generator) -> Any:
        """The weights themselves while they fit into memory, then None."""
        self._kept_bytes += weights.nbytes
        return weights if self._kept_bytes <= KEPT_BYTES else None

    def _fit(self, training: Training) -> None:
        device = _device(self.device)
        generator = torch.Generator(device).manual_seed(seed_from_hash("dmc", int(self.seed)))
        outputs = len(self.classes_) or 1
        self.network_ = DeepMetaClassifier(int(self.slice_length), outputs, dropout=self.dropout, generator=generator)
        self.network_.to(device).train()
        optimizer = torch.optim.Adam(self.network_.parameters(), lr=self.learning_rate)
        self.loss_: list[float] = []
        self.capped_ = False
        limit = self.max_seconds or math.inf
        progress, steps, step_seconds = 0.0, 0, 0.0
        draws = np.random.default_rng(seed_from_hash("dmc slices", int(self.seed)))

        for epoch in range(self.epochs):
            x, y = self._draw_epoch(training, draws)
            batches = np.array_split(np.arange(len(x)), math.ceil(len(x) / self.batch_size))
            losses = []
            for i, batch in enumerate(batches):
                now = time.monotonic()
                spent = (now - self._began) / limit
                settling_seconds = step_seconds / 3 * min(len(x), SETTLING_SLICES) / len(batch)  # forward alone
                if steps and spent + (step_seconds + settling_seconds) / limit >= 1:
                    self.capped_ = True
                    break
                progress = max(progress, spent, (epoch + i / len(batches)) / self.epochs)
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate * DECAY ** math.floor(DECAYS * progress)
                found = self.network_(torch.from_numpy(x[batch]).to(device))  # [B, C]
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
        self._settle(x[:SETTLING_SLICES])

    def _settle(self, x: npt.NDArray[np.float32]) -> None:
        """Measure batch norm's moving statistics for the final weights: plain means over the batches of `x` [n, L].

        Differs: the paper never evaluates with moving statistics. Those gathered while training lag behind the
        weights; after a short training they put predictions at chance.
        """
        device = next(self.network_.parameters()).device
        norms = [module for module in self.network_.modules() if isinstance(module, nn.BatchNorm1d)]
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
        """One epoch's slices in random order [n, L] and what to predict [n].

        As many slices as there are snapshots; each class gets an equal share of them, its snapshots taking turns.
        """
        length = int(self.slice_length)
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
        x = np.empty((len(drawn), length), np.float32)
        for m, member in enumerate(training.members):
            at = np.flatnonzero(owner[drawn] == m)
            if not len(at):
                continue
            weights = training.taken[m] if training.taken[m] is not None else member.read()
            starts = draw_starts(member.layout, self.part, length, len(at), generator=generator)
            for row, start in zip(at, starts, strict=True):
                x[order[row]] = weights[snapshot[drawn[row]], start : start + length]
        y = np.empty(len(drawn), np.int64 if training.classification else np.float32)
        y[order] = goals[drawn]
        return x, y

    def _outputs(
        self, weights: npt.NDArray[np.float32], layout: Layout, starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        if starts is None:
            raise MetaError("dmc reads slices, not whole vectors", hint="--slice-length 5000")
        device = next(self.network_.parameters()).device
        slices = torch.from_numpy(cut(weights, starts, int(self.slice_length))).flatten(0, 1)  # [T·K, L]
        self.network_.eval()
        with torch.inference_mode():
            found = torch.cat([self.network_(batch.to(device)).double() for batch in slices.split(SCORING_BATCH)])
            if self.classes_:
                found = found.softmax(dim=1)
        return found.cpu().numpy().reshape(*starts.shape, -1)

    def _state(self) -> tuple[dict[str, npt.NDArray], dict[str, Any]]:
        arrays = {name: tensor.cpu().numpy() for name, tensor in self.network_.state_dict().items()}
        return arrays, {"epochs": self.epochs_, "capped": self.capped_, "loss": self.loss_}

    def _restore(self, arrays: dict[str, npt.NDArray], facts: dict[str, Any]) -> None:
        self.epochs_, self.capped_, self.loss_ = facts["epochs"], facts["capped"], facts["loss"]
        self.network_ = DeepMetaClassifier(
            int(self.slice_length), len(self.classes_) or 1, dropout=self.dropout, generator=torch.Generator()
        )
        self.network_.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
        self.network_.to(_device(self.device)).eval()


class DeepMetaClassifier(nn.Module):
    """The network: slices [B, L] → class scores or values [B, C]; 10.4 million weights at L = 5000.

    generator: of the initial weights and of dropout; the global random state is not touched
    """

    def __init__(self, length: int, outputs: int, *, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        with torch.device("meta"):  # no initial weights but those drawn below
            self.features, self.head = _features(length), nn.Sequential()
            pools = sum(isinstance(module, nn.MaxPool1d) for module in self.features)
            inputs = DEEP_CHANNELS * (length >> pools)
            for units in UNITS:
                self.head.extend(
                    [nn.Linear(inputs, units), nn.ReLU(), nn.BatchNorm1d(units), Dropout(dropout, generator)]
                )
                inputs = units
            self.head.append(nn.Linear(inputs, outputs))
        self.to_empty(device=generator.device)
        for module in self.modules():
            if isinstance(module, (nn.Conv1d, nn.Linear)):
                _glorot_normal(module.weight, generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm1d):
                module.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x[:, None])  # [B, 1, L] → [B, 256, L']
        return self.head(x.flatten(1))  # [B, C]


class Dropout(nn.Module):
    """Inverted dropout with a random stream of its own."""

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share, self.generator = share, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.share:
            return x
        kept = torch.rand(x.shape, generator=self.generator, device=x.device) >= self.share
        return x * kept / (1 - self.share)


def _features(length: int) -> nn.Sequential:
    """Convolutions and pools in the order of the protocol."""
    layers: list[nn.Module] = []
    inputs = 1

    def convolve(channels: int) -> None:
        nonlocal inputs
        layers.extend([nn.Conv1d(inputs, channels, KERNEL, padding="same"), nn.ReLU(), nn.BatchNorm1d(channels)])
        inputs = channels

    for block in BLOCKS:
        for channels in block:
            convolve(channels)
        layers.append(nn.MaxPool1d(2))
        length //= 2
    for _ in range(DEEP_LAYERS):
        if length > LONGEST_DEEP:
            layers.append(nn.MaxPool1d(2))
            length //= 2
        convolve(DEEP_CHANNELS)
    layers.append(nn.MaxPool1d(2))
    return nn.Sequential(*layers)


def _glorot_normal(weight: Tensor, generator: torch.Generator) -> None:
    """Normal with variance 2 / (fan in + fan out), cut at two deviations and widened to keep that variance.

    Source: Glorot and Bengio, AISTATS 2010; the cut as in TensorFlow's initialiser of that name (protocol: section 1).
    """
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(weight)
    deviation = math.sqrt(2 / (fan_in + fan_out)) / 0.87962566103423978
    with torch.no_grad():
        nn.init.trunc_normal_(weight, 0.0, deviation, -2 * deviation, 2 * deviation, generator=generator)


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
