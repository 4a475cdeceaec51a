"""One run: a set-up and images in, snapshots and a training curve out."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weightprint.errors import SetupError
from weightprint.images import (
    ImageSet,
    TrainingImages,
    epoch_indices,
    prepare,
    refuse_large_batch,
    refuse_other_form,
)
from weightprint.images.augment import augment
from weightprint.seeds import seed_from_hash
from weightprint.setups import EverydaySetup, Setup
from weightprint.training.architecture import weight_count
from weightprint.training.devices import refuse_absent_device
from weightprint.training.networks import Network, initialize
from weightprint.training.optimizers import RULES, FlatParameters
from weightprint.training.stopping import EARLIEST_STOP, EarlyStopping, evenly_spaced
from weightprint.training.vectors import to_vector

LEARNING_RATE_DECAY = 0.96
MAX_EPOCHS = 1000
SNAPSHOTS = 20
EVALUATION_BATCH = 250

CURVE_COLUMNS = (
    "step",
    "epoch",
    "train_accuracy",
    "train_loss",
    "validation_accuracy",
    "validation_loss",
    "test_accuracy",
    "test_loss",
    "smoothed_validation_accuracy",
)
"""Of each evaluation. Accuracies are shares of 1; losses mean cross-entropies in nats. The train columns are
measured like the others, in eval mode and without augmentation, on as many training images as there are
validation images."""


@dataclass(frozen=True)
class TrainedRun:
    """What one training leaves behind.

    setup:            the set-up it was trained under
    status:           "complete", or "diverged" when a weight or loss stopped being finite
    reason:           why it ended: the rule, or where it diverged
    weights:          [T, P] float32, snapshots evenly spaced from first to last evaluation; finite
    curve:            [E, 9] float64, one row per evaluation, columns CURVE_COLUMNS
    evaluations:      [T] which rows of `curve` the snapshots belong to
    training_samples: images that went through gradient steps
    """

    setup: Setup | EverydaySetup
    status: str
    reason: str
    weights: np.ndarray
    curve: np.ndarray
    evaluations: tuple[int, ...]
    training_samples: int

    @property
    def measurements(self) -> list[dict[str, Any]]:
        """One row per snapshot: its number from 1 and the curve's columns."""
        return [
            {"snapshot": t + 1, **{c: float(v) for c, v in zip(CURVE_COLUMNS, self.curve[e], strict=True)}}
            for t, e in enumerate(self.evaluations)
        ]


def train(
    setup: Setup,
    images: ImageSet | TrainingImages,
    *,
    seed: int = 0,
    run: int = 0,
    max_epochs: int = MAX_EPOCHS,
    snapshots: int = SNAPSHOTS,
    device: str = "cpu",
    spool: str | Path | None = None,
) -> TrainedRun:
    """Train one classifier (paper section 3.2; protocol section 1).

    The result depends on the arguments alone: every random choice has a generator of its own, keyed by
    (purpose, seed, run). All weights of the run are spooled to an unnamed file in the folder `spool`.

    Raises DataError when class balancing leaves fewer training images than one batch or they are not 32 × 32 colour
    ones, SetupError for a device that is not there.
    """
    if isinstance(setup, EverydaySetup):
        raise SetupError("this set-up is one of the space everyday", hint="weightprint.train_everyday trains it")
    if isinstance(images, ImageSet):
        images = prepare(images, train_size=None, test_size=None, seed=seed)
    refuse_other_form(images, setup.image_form)
    refuse_large_batch(images, setup.batch_size)
    refuse_absent_device(device)
    parts = ResidentImages(images, device)
    streams = Streams(seed, run, device)

    network = Network(setup)
    initialize(network, generator=streams.initialization)
    network.to(device)
    flat = FlatParameters(network.parameters())
    optimizer = RULES[setup.optimizer](flat.values, flat.gradients, weight_decay=setup.weight_decay)

    step = 0
    with Course(setup, max_epochs=max_epochs, snapshots=snapshots, spool=spool) as course:
        for epoch in range(max_epochs + 1):
            if course.ends(step, epoch, to_vector(network), parts.evaluate(network)):
                break
            network.train()
            learning_rate = setup.learning_rate * LEARNING_RATE_DECAY**epoch
            indices = torch.from_numpy(epoch_indices(images.y_train, generator=streams.order)).to(device)
            for start in range(0, len(indices) - setup.batch_size + 1, setup.batch_size):
                batch, labels = parts.training_batch(indices[start : start + setup.batch_size])
                if setup.augmentation:
                    batch = augment(batch, generator=streams.augmentation)
                    batch = batch.contiguous(memory_format=torch.channels_last)
                flat.backward(F.cross_entropy(network(batch, generator=streams.dropout), labels))
                optimizer.step(learning_rate)
                step += 1
        return course.result()


class Streams:
    """The random streams of a run, each keyed by (purpose, seed, run) and by nothing else.

    initialization:        of the weights, always on the CPU
    order:                 of the images
    dropout, augmentation: on the device
    """

    def __init__(self, seed: int, run: int, device: str) -> None:
        self.initialization = _generator("initialization", seed, run, "cpu")
        self.order = np.random.Generator(np.random.PCG64(seed_from_hash("order", seed, run)))
        self.dropout = _generator("dropout", seed, run, device)
        self.augmentation = _generator("augmentation", seed, run, device)


def _generator(purpose: str, seed: int, run: int, device: str) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed_from_hash(purpose, seed, run))


class Course:
    """What is kept of a run while it trains, its weights on disk, and when it ends; there inside a `with` block."""

    def __init__(self, setup: Setup, *, max_epochs: int, snapshots: int, spool: str | Path | None) -> None:
        self._setup, self._max_epochs, self._snapshots = setup, max_epochs, snapshots
        self._stopping = EarlyStopping(max(EARLIEST_STOP, snapshots))
        self._curve: list[list[float]] = []
        self._step = 0
        self._end = "", ""
        self._spool = _Spool(spool, weight_count(setup))

    def __enter__(self) -> Course:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def ends(self, step: int, epoch: int, vector: Tensor, measured: list[float]) -> bool:
        """Take an evaluation; whether it is the run's last.

        vector:   the weights [P]
        measured: of `ResidentImages.evaluate`
        """
        self._step = step
        if not (torch.isfinite(vector).all() and all(map(math.isfinite, measured))):
            self._end = "diverged", f"not finite after {step} steps"
            return True
        self._spool.append(vector)
        stop = self._stopping.add(measured[2])
        self._curve.append([step, epoch, *measured, self._stopping.smoothed])
        self._end = "complete", "early stopping" if stop else "last epoch"
        return stop or epoch == self._max_epochs

    def result(self) -> TrainedRun:
        """The run, after its last evaluation."""
        status, reason = self._end
        kept = evenly_spaced(len(self._curve), self._snapshots)
        return TrainedRun(
            setup=self._setup,
            status=status,
            reason=reason,
            weights=self._spool.read(kept),
            curve=np.array(self._curve, dtype=np.float64).reshape(len(self._curve), len(CURVE_COLUMNS)),
            evaluations=tuple(kept),
            training_samples=self._step * self._setup.batch_size,
        )


class ResidentImages:
    """The images of a run on its device: batches are index operations, evaluation one call.

    train, train_labels: bytes [N, 32, 32, 3] and labels [N]
    measured:            images and labels to evaluate on, of three parts: train, validation, test
    """

    def __init__(self, images: TrainingImages, device: str) -> None:
        self.train = torch.from_numpy(images.x_train).to(device)
        self.train_labels = torch.from_numpy(images.y_train).to(device)
        probe = len(images.y_validation)  # the first training images: `prepare` deals one of each class in turn
        self.measured = [
            (self.train[:probe], self.train_labels[:probe]),
            *(
                (torch.from_numpy(x).to(device), torch.from_numpy(y).to(device))
                for x, y in (images.validation, images.test)
            ),
        ]

    def training_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, 32, 32] float32 in [0, 1], channels last in memory, and labels [B]."""
        return to_float(self.train[indices]), self.train_labels[indices]

    def evaluate(self, network: Network) -> list[float]:
        """Accuracy and mean loss on train, validation and test images, in eval mode: six numbers."""
        network.eval()
        return [number for images, labels in self.measured for number in _evaluate(network, images, labels)]


def to_float(images: Tensor) -> Tensor:
    """Bytes [B, H, W, 3] as float32 [B, 3, H, W] in [0, 1], channels last in memory."""
    return images.to(torch.float32).div_(255).permute(0, 3, 1, 2)


@torch.inference_mode()
def _evaluate(network: Network, images: Tensor, labels: Tensor) -> tuple[float, float]:
    correct, loss = 0, 0.0
    for x, y in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
        scores = network(to_float(x))
        correct += int((scores.argmax(1) == y).sum())
        loss += float(F.cross_entropy(scores, y, reduction="sum"))
    return correct / len(labels), loss / len(labels)


class _Spool:
    """Weight vectors on disk, so that a long run's memory stays flat."""

    def __init__(self, folder: str | Path | None, size: int) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed in `close`
        self._size = size

    def close(self) -> None:
        self._file.close()

    def append(self, vector: Tensor) -> None:
        self._file.write(vector.to("cpu", torch.float32).numpy().tobytes())

    def read(self, which: list[int]) -> np.ndarray:
        rows = np.empty((len(which), self._size), dtype=np.float32)
        for row, index in zip(rows, which, strict=True):
            self._file.seek(index * self._size * 4)
            row[:] = np.frombuffer(self._file.read(self._size * 4), dtype="<f4")
        return rows
