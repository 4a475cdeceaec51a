"""One network under training on the compiled kernels: `step`, `evaluate`, `vector`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from weightprint.images import TrainingImages
from weightprint.setups import IMAGE_CHANNELS, IMAGE_SIDE, Setup
from weightprint.training.architecture import conv_channels, hidden_units, layers_per_block
from weightprint.training.fast import dense, pixels
from weightprint.training.fast.augmentation import FRAME, recolour_kernel, warp
from weightprint.training.fast.choice import FILTER_SIZES, Choice, choose, features_in_force
from weightprint.training.fast.layers import Batch, Block, Hidden, Linear, Weights, aligned
from weightprint.training.fast.rules import rule
from weightprint.training.streams import Streams


def why_not(setup: Setup, device: str = "cpu", features: Mapping[str, bool] | None = None) -> str | None:
    """Why a set-up cannot be trained here; None when it can."""
    if device != "cpu":
        return f"the kernels run on the CPU, not on {device}"
    if choose(features_in_force() if features is None else features) is None:
        return "there are kernels for processors with AVX-512, AVX2 or NEON"
    if setup.filter_size not in FILTER_SIZES:
        return f"there are kernels for filters of size {', '.join(map(str, FILTER_SIZES))}, not {setup.filter_size}"
    return None


class FastTraining:
    """A network, the images it is trained on and its update rule.

    vector:  [P] the weights to begin with, float32 (or float64, in which then all is computed), in the order of the
             set-up's layout
    streams: what dropout and augmentation are drawn from
    choice:  lanes and tiles; those of this processor if None
    """

    def __init__(
        self,
        setup: Setup,
        vector: np.ndarray,
        images: TrainingImages,
        streams: Streams,
        *,
        choice: Choice | None = None,
    ) -> None:
        choice = choice or choose(features_in_force(), itemsize=vector.itemsize)
        assert choice is not None  # `why_not` was asked
        self.setup, self._streams = setup, streams
        L, dtype = choice.lanes, vector.dtype
        self._images = images
        self._bytes = {part: _read_only(x) for part, (x, _) in _parts(images).items()}
        self._lanes = L
        self._weights = Weights(setup, vector, L)
        self._rule = rule(
            setup.optimizer,
            self._weights.trained,
            self._weights.gradients,
            lanes=L,
            weight_decay=setup.weight_decay,
        )
        batch = Batch(setup.batch_size, L, dtype)
        self._batch = batch
        if setup.augmentation:
            self._shades, self._frame = (np.arange(256) / 255).astype(dtype), np.zeros(FRAME, dtype)
            self._noise = np.zeros(_IMAGE * setup.batch_size + L, np.float32)
            self._recolour = recolour_kernel(L)
        self._pixels = pixels.pixels_kernel(L, IMAGE_SIDE, IMAGE_SIDE, IMAGE_CHANNELS)
        self._inputs = x = batch.new(IMAGE_CHANNELS * IMAGE_SIDE**2)
        self._blocks: list[Block] = []
        inputs, side = IMAGE_CHANNELS, IMAGE_SIDE
        pooled = [i + 1 == n for n in layers_per_block(setup.depth_conv) for i in range(n)]
        for i, (outputs, pool) in enumerate(zip(conv_channels(setup), pooled, strict=True)):
            shape = (inputs, outputs, side, side, pool)
            self._blocks.append(Block(f"conv{i + 1}", setup, self._weights, choice, batch, shape, x))
            inputs, side, x = outputs, side >> pool, self._blocks[-1].values
        scratch = aligned(max(b.scratch_size for b in self._blocks), dtype)
        for b in self._blocks:
            b.scratch = scratch
        self._flat = side, inputs, side
        features = inputs * side * side
        self._flatten = dense.flatten_kernel(L)
        x = batch.new(features)
        self._features = x
        self._hidden: list[Hidden] = []
        for i, units in enumerate(hidden_units(setup)):
            self._hidden.append(Hidden(f"fc{i + 1}", setup, self._weights, choice, batch, features, units, x))
            features, x = units, self._hidden[-1].out
        self._output = Linear("output", self._weights, choice, batch, features, setup.outputs, x)
        self._loss = dense.loss_kernel(L)
        self._room, self._unused, self._found = np.empty(L, dtype), np.empty(setup.outputs, dtype), np.empty(2)

    def vector(self) -> np.ndarray:
        """The weights [P]."""
        return self._weights.vector()

    def step(self, indices: np.ndarray, learning_rate: float) -> float:
        """One update by a batch of training images, given by their indices [B]; the loss before it."""
        if self.setup.augmentation:
            self.load_changed(indices)
        else:
            self._load("train", indices)
        for layer in self._blocks:
            layer.forward()
        last = self._blocks[-1]
        self._flatten(self._batch.groups, *self._flat, False, last.values, self._features)
        for hidden in self._hidden:
            hidden.forward(self._streams)
        self._output.forward(self._batch.padded)
        loss = self._score(self._images.y_train[indices], train=True)[0] / len(indices)
        self._output.backward(self._output.z)
        above = self._output.dx
        for hidden in reversed(self._hidden):
            hidden.backward(above)
            above = hidden.dx
        self._flatten(self._batch.groups, *self._flat, True, last.g, above)
        for i, layer in reversed(list(enumerate(self._blocks))):
            layer.backward(self._blocks[i - 1].g if i else None)
        self._rule(learning_rate)
        return loss

    def evaluate(self) -> list[float]:
        """Accuracy and mean loss on train, validation and test images, in eval mode: six numbers."""
        for block in self._blocks:
            block.settle()
        for hidden in self._hidden:
            hidden.settle()
        return [number for part in _MEASURED for number in self._evaluate(part)]

    def _evaluate(self, part: str) -> tuple[float, float]:
        labels = _parts(self._images)[part][1]
        if part == "train":
            labels = labels[: len(self._images.y_validation)]
        entropy, right = 0.0, 0.0
        for start in range(0, len(labels), self.setup.batch_size):
            indices = np.arange(start, min(start + self.setup.batch_size, len(labels)))
            groups = -(-len(indices) // self._lanes)
            self._load(part, indices)
            for layer in self._blocks:
                layer.evaluate(groups)
            self._flatten(groups, *self._flat, False, self._blocks[-1].values, self._features)
            for hidden in self._hidden:
                hidden.evaluate(groups * self._lanes)
            self._output.forward(groups * self._lanes)
            found = self._score(labels[indices])
            entropy, right = entropy + found[0], right + found[1]
        return right / len(labels), entropy / len(labels)

    def _load(self, part: str, indices: np.ndarray) -> None:
        """Images into the first lanes; up to whole groups, copies of the first image into the others."""
        self._pixels(self._bytes[part], self._filled(indices) * _IMAGE, self._inputs)

    def load_changed(self, indices: np.ndarray) -> np.ndarray:
        """A training batch, given by its indices [B], changed at random; in lanes [G, H, C, W, L], flat."""
        count = len(indices)
        maps, colors = self._streams.draw_changes(count, self._noise[: _IMAGE * count])
        starts = self._filled(indices) * _IMAGE
        warp(self._lanes, self._bytes["train"], starts, self._filled(maps), self._shades, self._frame, self._inputs)
        noise = self._noise.astype(self._inputs.dtype, copy=False)
        self._recolour(count, *dataclasses.astuple(colors), noise, self._inputs)
        return self._inputs

    def _filled(self, rows: np.ndarray) -> np.ndarray:
        """Up to whole groups, with copies of the first row."""
        return np.concatenate([rows, *[rows[:1]] * (-len(rows) % self._lanes)])

    def _score(self, labels: np.ndarray, *, train: bool = False) -> tuple[float, float]:
        """The sum of the cross-entropies and how many images are right; the scores become the loss's gradient."""
        o, count = self._output, len(labels)
        padded = -(-count // self._lanes) * self._lanes
        of_bias = o.dbias if train else self._unused
        self._loss(o.units, padded, count, o.z, o.bias, labels, self._batch.mask, of_bias, self._room, self._found)
        return float(self._found[0]), float(self._found[1])


_IMAGE = IMAGE_CHANNELS * IMAGE_SIDE**2
"""Bytes of an image."""

_MEASURED = ("train", "validation", "test")


def _parts(images: TrainingImages) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return dict(zip(_MEASURED, (images.train, images.validation, images.test), strict=True))


def _read_only(values: np.ndarray) -> np.ndarray:
    """One type for numba, whether the images are in memory or on disk."""
    view = np.ascontiguousarray(values).reshape(-1).view()
    view.flags.writeable = False
    return view
