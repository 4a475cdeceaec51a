"""One run: a set-up and images in, snapshots and a training curve out."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from weightprint.errors import SetupError
from weightprint.images import (
    ImageSet,
    TrainingImages,
    epoch_indices,
    prepare,
    refuse_large_batch,
    refuse_other_form,
)
from weightprint.setups import EverydaySetup, Setup
from weightprint.training.architecture import weight_count
from weightprint.training.devices import refuse_absent_device
from weightprint.training.fast.training import FastTraining, why_not
from weightprint.training.networks import Network, initialize
from weightprint.training.plain import PlainTraining
from weightprint.training.stopping import EARLIEST_STOP, EarlyStopping, evenly_spaced
from weightprint.training.streams import Streams
from weightprint.training.vectors import to_vector

LEARNING_RATE_DECAY = 0.96
MAX_EPOCHS = 1000
SNAPSHOTS = 20

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
    streams = Streams(seed, run, device)
    training = begin(setup, images, streams, device)
    step = 0
    with Course(setup, max_epochs=max_epochs, snapshots=snapshots, spool=spool) as course:
        for epoch in range(max_epochs + 1):
            if course.ends(step, epoch, training.vector(), training.evaluate()):
                break
            learning_rate = setup.learning_rate * LEARNING_RATE_DECAY**epoch
            indices = epoch_indices(images.y_train, generator=streams.order)
            for start in range(0, len(indices) - setup.batch_size + 1, setup.batch_size):
                training.step(indices[start : start + setup.batch_size], learning_rate)
                step += 1
        return course.result()


class Training(Protocol):
    """A network, the images it is trained on and its update rule."""

    def step(self, indices: np.ndarray, learning_rate: float) -> object:
        """One update by a batch of training images, given by their indices [B]."""
        ...

    def evaluate(self) -> list[float]:
        """Accuracy and mean loss on train, validation and test images, in eval mode: six numbers."""
        ...

    def vector(self) -> np.ndarray:
        """The weights [P]."""
        ...


def begin(
    setup: Setup, images: TrainingImages, streams: Streams, device: str = "cpu", *, vector: np.ndarray | None = None
) -> Training:
    """A network with its first weights, on the compiled kernels where they serve, else in plain torch.

    vector: first weights [P] float32 in place of those that the set-up's initialization draws
    """
    if vector is None:
        network = Network(setup)
        initialize(network, generator=streams.initialization)
        vector = to_vector(network).numpy()
    if why_not(setup, device):
        return PlainTraining(setup, vector, images, streams, device=device)
    return FastTraining(setup, vector, images, streams)


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

    def ends(self, step: int, epoch: int, vector: np.ndarray, measured: list[float]) -> bool:
        """Take an evaluation; whether it is the run's last.

        vector:   the weights [P]
        measured: of `Training.evaluate`
        """
        self._step = step
        if not (np.isfinite(vector).all() and all(map(math.isfinite, measured))):
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


class _Spool:
    """Weight vectors on disk, so that a long run's memory stays flat."""

    def __init__(self, folder: str | Path | None, size: int) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed in `close`
        self._size = size

    def close(self) -> None:
        self._file.close()

    def append(self, vector: np.ndarray) -> None:
        self._file.write(vector.astype("<f4").tobytes())

    def read(self, which: list[int]) -> np.ndarray:
        rows = np.empty((len(which), self._size), dtype=np.float32)
        for row, index in zip(rows, which, strict=True):
            self._file.seek(index * self._size * 4)
            row[:] = np.frombuffer(self._file.read(self._size * 4), dtype="<f4")
        return rows
